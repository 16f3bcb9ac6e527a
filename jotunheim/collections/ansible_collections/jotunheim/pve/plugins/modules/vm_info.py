"""Documentation of the action plugin plugins/action/vm_info.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
version_added: 0.1.0
short_description: Read the VM of this host
description:
  - Finds the VM and reads its settings, status and, if wanted, the addresses that its guest agent knows.
  - A missing VM and a silent agent are results, not failures.
options:
  agent_timeout_seconds:
    description: How long to wait for the guest agent of a running VM, in seconds. 0 does not ask.
    type: int
    default: 0
  require_owned:
    description: Fail with the code C(vm_not_ours) when the VM does not carry C(pve_uuid).
    type: bool
    default: false
  snapshots:
    description: Also read the snapshots.
    type: bool
    default: false
  pending:
    description: Also read which changes a running VM does not have yet. See M(jotunheim.pve.vm_restart).
    type: bool
    default: false
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Read the server back
  jotunheim.pve.vm_info:
    agent_timeout_seconds: 60
  register: found
"""

RETURN = r"""
vm:
  description: The VM. Of one that does not exist, only the first five.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether this node has a VM C(pve_vmid).
      type: bool
    owned:
      description: Whether it carries C(pve_uuid).
      type: bool
    vmid:
      description: C(pve_vmid).
      type: int
    node:
      description: C(pve_node).
      type: str
    uuid:
      description: C(pve_uuid).
      type: str
    name:
      description: Name of the VM.
      type: str
    template:
      description: Whether it is a template.
      type: bool
    status:
      description: V(running) or V(stopped).
      type: str
    uptime_seconds:
      description: Seconds since the start.
      type: int
    lock:
      description: Lock of an operation that is going on, for example V(backup), or null.
      type: str
    cores:
      description: CPU cores per socket.
      type: int
    memory_bytes:
      description: Memory in bytes.
      type: int
    disks:
      description: Size in bytes by device.
      type: dict
    system_disk:
      description: The device that the VM boots from, or null when nothing says which it is.
      type: str
    mac_addresses:
      description: MAC address by device.
      type: dict
    tags:
      description: Tags.
      type: list
      elements: str
    description:
      description: Notes without the line of the UUID.
      type: str
    onboot:
      description: Whether the VM starts with its node.
      type: bool
    agent:
      description: >-
        The guest agent. C(enabled) in the configuration, C(asked) by this task, C(answered) in time, and
        C(addresses) with C(interface), C(mac), C(family), C(address) and C(prefix_length).
      type: dict
    snapshots:
      description: >-
        The snapshots if wanted, the oldest first, each with C(name), C(description), C(with_memory),
        C(created_at) (ISO 8601, UTC) and C(parent) (a name or null).
      type: list
      elements: dict
    waiting:
      description: Changes that wait for a restart if wanted, V(pending) or V(needs_restart) by configuration key.
      type: dict
    config:
      description: The configuration as Proxmox VE shows it. Passwords are masked by Proxmox VE.
      type: dict
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
