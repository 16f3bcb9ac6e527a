"""Documentation of the action plugin plugins/action/vm_config.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_config
version_added: 0.1.0
short_description: Configure the VM of this host
description:
  - Brings CPU, memory, notes, network, cloud-init and disk size to what is wanted, with one read and one write. What is not given stays as it is.
  - Sends the digest of what it read, so that a change by someone else in the meantime is not overwritten (code C(config_changed)).
  - On a running VM Proxmox VE applies some changes at the next start; see M(jotunheim.pve.vm_restart).
  - All of it is checked before anything is written. A bridge that the node does not have, a disk that would shrink or a device that is missing leaves the VM as it was.
  - The cloud-init password is the variable C(pve_cloudinit_password) of the host, if O(cloudinit) is given. It is masked in the diff.
options:
  name:
    description: Name of the VM, a DNS name. It is also the host name that cloud-init sets.
    type: str
  cores:
    description: CPU cores over all sockets. When they do not divide evenly, the VM gets one socket.
    type: int
  memory_bytes:
    description: Memory in bytes, a multiple of 1 MiB.
    type: int
  cpu_type:
    description: Emulated CPU, for example V(host). CPU flags are kept.
    type: str
  tags:
    description: Tags, in any order. Proxmox VE keeps them sorted and in lower case. An empty list removes all.
    type: list
    elements: str
  description:
    description: Notes of the VM. The line with the UUID of the server stands before them and is kept.
    type: str
  onboot:
    description: Whether the VM starts with its node.
    type: bool
  agent:
    description: Whether Proxmox VE talks to the QEMU guest agent. Other agent options are kept.
    type: bool
  cloudinit:
    description: Cloud-init settings.
    type: dict
    suboptions:
      user:
        description: Account that cloud-init makes and that gets keys and password. An empty string removes the setting.
        type: str
      ssh_keys:
        description: Public keys, one per entry, in the form of C(authorized_keys). An empty list removes them.
        type: list
        elements: str
      renew_password:
        description:
          - Set the password even if one is set already. Proxmox VE does not show passwords, so the task then
            always reports a change.
          - Otherwise it is set on the first write to a clone, and when there is none.
        type: bool
        default: false
      ip_configs:
        description: Addresses by interface. Interfaces that are not listed are left as they are.
        type: list
        elements: dict
        suboptions:
          interface:
            description: N of C(netN) and C(ipconfigN).
            type: int
            default: 0
          ipv4_address:
            description: Address with prefix length, for example V(192.0.2.10/24), or V(dhcp).
            type: str
          ipv4_gateway:
            description: IPv4 address of the gateway.
            type: str
          ipv6_address:
            description: Address with prefix length, or V(dhcp), or V(auto).
            type: str
          ipv6_gateway:
            description: IPv6 address of the gateway.
            type: str
      nameservers:
        description: Addresses of name servers. An empty list removes them.
        type: list
        elements: str
      search_domain:
        description: DNS search domain. An empty string removes it.
        type: str
      storage:
        description: Storage for the cloud-init drive if the VM has none. Default is the storage of the system disk.
        type: str
  networks:
    description: Network devices. Devices that are not listed are left as they are, unknown options too.
    type: list
    elements: dict
    suboptions:
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
  disk:
    description: Size of one disk.
    type: dict
    suboptions:
      size_bytes:
        description: Wanted size in bytes, a multiple of 1 MiB. A size below the present one is refused.
        type: int
        required: true
      device:
        description: For example V(scsi0). Default is the disk that the VM boots from.
        type: str
  boot_order:
    description: Devices to boot from, the first one first, for example V(scsi0) and V(net0). The VM must have them.
    type: list
    elements: str
  iso:
    description:
      - ISO image in the CD-ROM drive of the VM, a volume such as V(local:iso/debian.iso). A drive is added when there is
        none, and put at the end of the boot order. An empty string takes an image out; the drive stays.
      - Drives with anything else in them (cloud-init, a drive of the host) are left as they are.
    type: str
  timeout_seconds:
    description: How long to wait for a disk to be resized, in seconds.
    type: int
    default: 600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Configure CPU, memory, network and cloud-init
  jotunheim.pve.vm_config:
    cores: 2
    memory_bytes: 2147483648
    networks:
      - bridge: vmbr0
        vlan: 100
    cloudinit:
      ssh_keys:
        - ssh-ed25519 AAAA… admin@example.com
      ip_configs:
        - ipv4_address: 192.0.2.10/24
          ipv4_gateway: 192.0.2.1
    disk:
      size_bytes: 10737418240
"""

RETURN = r"""
upids:
  description: Proxmox VE's ids of the tasks that were started or taken over.
  returned: when there were any
  type: list
  elements: str
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
