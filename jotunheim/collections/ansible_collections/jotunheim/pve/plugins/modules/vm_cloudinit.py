"""Documentation of the action plugin plugins/action/vm_cloudinit.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_cloudinit
version_added: 0.1.0
short_description: Set the cloud-init data of the VM of this host
description:
  - User, keys, password, addresses and resolver. A missing cloud-init drive is added. They apply at the next run of cloud-init.
  - The password is the variable C(pve_cloudinit_password) of the host. It is masked in the diff.
options:
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
  timeout_seconds:
    description: How long to wait for a disk to be resized, in seconds.
    type: int
    default: 600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Set keys and address
  jotunheim.pve.vm_cloudinit:
    user: debian
    ssh_keys:
      - ssh-ed25519 AAAA… admin@example.com
    ip_configs:
      - ipv4_address: dhcp
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
