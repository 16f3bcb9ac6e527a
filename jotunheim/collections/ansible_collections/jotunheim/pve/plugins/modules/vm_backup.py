"""Documentation of the action plugin plugins/action/vm_backup.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_backup
version_added: 0.1.0
short_description: Make, lock, unlock or remove a backup of the VM of this host
description:
  - Does nothing the second time. A backup is known by its O(id), which stands in the first line of its notes, or by its O(volume).
  - The storage's own retention does not take older backups away.
  - Nothing but V(present) needs the VM; its backups may outlive it.
options:
  state:
    description:
      - V(present) makes the backup, V(absent) removes it.
      - V(locked) protects it against removal, V(unlocked) no longer does. A protected backup is not removed.
    type: str
    required: true
    choices: [present, absent, locked, unlocked]
  id:
    description: A name of your choice for this backup, for example a UUID.
    type: str
    required: true
  storage:
    description: The storage of Proxmox VE that holds it, a directory or a Proxmox Backup Server.
    type: str
    required: true
  volume:
    description: What Proxmox VE calls it, if that is known. Then it is found by this and not by O(id).
    type: str
  vmid:
    description: The VMID under which it was made, if it is not the VM's of today.
    type: int
  mode:
    description:
      - V(snapshot) lets the guest run, V(suspend) pauses it for a moment, V(stop) shuts it down and starts it again.
      - For V(present).
    type: str
    default: snapshot
    choices: [snapshot, suspend, stop]
  compress:
    description: How it is compressed; V(0) is not at all. A Proxmox Backup Server compresses in its own way. For V(present).
    type: str
    default: zstd
    choices: [zstd, gzip, lzo, '0']
  notes:
    description: What it is for. For V(present).
    type: str
    default: ''
  timeout_seconds:
    description: How long to wait for the task of Proxmox VE, in seconds.
    type: int
    default: 21600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Make a backup before the upgrade
  jotunheim.pve.vm_backup:
    state: present
    id: before-upgrade
    storage: local
"""

RETURN = r"""
backup:
  description: The backup as its storage lists it. Null when there is none.
  returned: success
  type: dict
  contains:
    volume:
      description: What Proxmox VE calls it.
      type: str
    size_bytes:
      description: Its size.
      type: int
    taken_at:
      description: When it was begun, in seconds since 1970.
      type: int
    protected:
      description: Whether it is locked.
      type: bool
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
