"""Documentation of the action plugin plugins/action/vm_delete.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_delete
version_added: 0.1.0
short_description: Destroy the VM of this host
description:
  - Stops the VM C(pve_vmid) on C(pve_node) if it runs, destroys it with all its disks, and proves that it is
    gone. Only a node that says that it has no such VM, together with a cluster that does not list it, is a
    proof; an error never is.
  - A VM that is being cloned is waited for first. The UUID is read again immediately before the VM is destroyed.
  - Nothing happens when there is no such VM. A deletion that an earlier, interrupted run started is waited for.
  - Fails, and touches nothing, with the code C(vm_not_ours) when the VMID belongs to another VM, C(vm_moved)
    when the VM is on another node, C(vm_locked) during a backup, snapshot or the like, and C(vm_protected)
    when its protection flag is set in Proxmox VE.
options:
  purge:
    description: Take the VM out of backup jobs, replication and high availability, too.
    type: bool
    default: true
  backups:
    description:
      - Remove the backups of this server, too. Only those whose own configuration carries the UUID of the
        server are removed; protected, unreadable and other VMs' ones are kept.
    type: bool
    default: false
  kept_backups:
    description: Backups that are not removed, as Proxmox VE calls them.
    type: list
    elements: str
    default: []
  backup_storage:
    description: Where the backups are. Default is all storages of the node that hold backups.
    type: str
  scratch_vmid:
    description:
      - VMID of a VM that an interrupted rebuild of this server may have left behind. It is destroyed if it
        carries the UUID of such a VM, and not touched otherwise.
    type: int
  is_unmarked:
    description: The VM may carry no mark at all, because a restore broke off. One that carries another's is refused nevertheless.
    type: bool
    default: false
  timeout_seconds:
    description: How long to wait for each task, in seconds.
    type: int
    default: 300
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Delete the server
  jotunheim.pve.vm_delete:
    backups: true
    backup_storage: backup
"""

RETURN = r"""
deleted:
  description: Whether it is proved that there is no such VM. False in check mode only.
  returned: success
  type: bool
backups_deleted:
  description: >-
    Volumes of the backups that were removed, also by earlier attempts of the same job of Jotunheim; in check mode
    those that would be.
  returned: success
  type: list
  elements: str
backups_kept:
  description: Volumes of the backups under this VMID that were not removed, if O(backups=true).
  returned: success
  type: list
  elements: str
backup_storages:
  description: The storages that were looked at for backups, if O(backups=true).
  returned: success
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
