"""Documentation of the action plugin plugins/action/vm_restore.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_restore
version_added: 0.1.0
short_description: Put the VM of this host back to one of its backups
description:
  - Disks and configuration become those of the backup. What was written since is lost, and so are the VM's snapshots.
  - A VM that is no more is made again under its VMID.
  - The VM is stopped afterwards. It carries the mark of this host's server whatever the backup says.
  - Proxmox VE takes the VM's disks away before it unpacks the backup's. When it fails in between, the VM is a part of what it was;
    the same task with the same O(id) then does it again.
options:
  id:
    description: A name for this restore. The VM remembers it, and is not put back again under the same one.
    type: str
    required: true
  volume:
    description: The backup, as Proxmox VE calls it. Its own configuration must carry the UUID of this host's server.
    type: str
    required: true
  storage:
    description: The storage for the disks. Without it they go where the backup says that they were.
    type: str
  stop:
    description: Stop the VM if it runs. Without it a running VM is a failure.
    type: bool
    default: false
  destroy_snapshots:
    description: Whether the VM's snapshots may go with its disks. Without it a VM that has some is a failure.
    type: bool
    default: false
  is_unmarked:
    description: The VM may carry no mark at all, because its last restore broke off. One that carries another's is refused nevertheless.
    type: bool
    default: false
  timeout_seconds:
    description: How long to wait for a task of Proxmox VE, in seconds.
    type: int
    default: 21600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Back to yesterday
  jotunheim.pve.vm_restore:
    id: after-the-accident
    volume: local:backup/vzdump-qemu-100-2026_11_22-20_36_47.vma.zst
    stop: true
"""

RETURN = r"""
snapshots_destroyed:
  description: The VM's snapshots that went with its disks.
  returned: when it was put back
  type: list
  elements: str
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
      description: Stable identifier, for example V(backup_not_found).
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
