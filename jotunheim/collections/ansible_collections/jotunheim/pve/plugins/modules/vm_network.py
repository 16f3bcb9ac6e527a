"""Documentation of the action plugin plugins/action/vm_network.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_network
version_added: 0.1.0
short_description: Set a network device of the VM of this host
description:
  - Model, MAC address, bridge, VLAN, MTU, rate and firewall. What is not given is kept, and so are options that are not known here.
options:
  index:
    description: N of C(netN). The device is added when there is none.
    type: int
    default: 0
  bridge:
    description: Bridge of the node.
    type: str
  model:
    description: Emulated card. A new device gets V(virtio).
    type: str
    choices: [virtio, e1000, e1000e, rtl8139, vmxnet3]
  mac:
    description: MAC address, six octets in hexadecimal. Without it the device keeps its own, and a new one gets one from Proxmox VE.
    type: str
  vlan:
    description: VLAN tag, 1 to 4094. 0 removes it.
    type: int
  mtu:
    description: MTU in bytes, for V(virtio) only. 1 takes the MTU of the bridge, 0 removes the setting.
    type: int
  rate_bytes_per_second:
    description: Limit of each direction in bytes per second. 0 removes it.
    type: int
  firewall:
    description: Whether the firewall of Proxmox VE filters this device.
    type: bool
  timeout_seconds:
    description: How long to wait for a disk to be resized, in seconds.
    type: int
    default: 600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Put the VM into VLAN 100 at 100 MB/s
  jotunheim.pve.vm_network:
    bridge: vmbr0
    vlan: 100
    rate_bytes_per_second: 100000000
"""

RETURN = r"""
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable identifier, for example V(vm_locked).
      type: str
    message:
      description: One sentence for a person.
      type: str
    retryable:
      description: Whether the same task may succeed later without a change.
      type: bool
    hint:
      description: What to do about it.
      type: str
"""
