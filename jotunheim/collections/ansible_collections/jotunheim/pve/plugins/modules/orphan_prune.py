"""Documentation of the action plugin plugins/action/orphan_prune.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: orphan_prune
version_added: 0.1.0
short_description: Remove a VM, a disk or a backup that carries a mark and is in no record
description:
  - Removes it for good, if it is still what was found, and proves that it is gone. Does nothing when it is gone already.
  - A VM must carry the mark of C(pve_uuid), a backup the mark of the backup with this id.
  - A disk must have the VMID C(pve_vmid) in its name, no guest may have this VMID, and no guest that the token sees may use the disk.
    Proxmox VE asks for Datastore.Allocate on its storage.
options:
  kind:
    description: What it is.
    type: str
    required: true
    choices: [vm, disk, backup]
  storage:
    description: Where a disk or backup is.
    type: str
  volume:
    description: What Proxmox VE calls a disk or backup.
    type: str
  despite:
    description:
      - What was seen and does not matter.
      - V(running) lets a VM go that runs, V(copied) one whose SMBIOS UUID is not the one of the mark. The others say nothing to this module.
    type: list
    elements: str
    default: []
    choices: [unknown, copied, running, unmarked]
  timeout_seconds:
    description: How long to wait for each task of Proxmox VE, in seconds.
    type: int
    default: 300
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Remove a backup that nobody knows of any more
  jotunheim.pve.orphan_prune:
    kind: backup
    storage: local
    volume: local:backup/vzdump-qemu-1000-2026_11_22-20_36_47.vma.zst
"""

RETURN = r"""
gone:
  description: Whether it is proved that it is not there. In check mode false when it would have to be removed.
  returned: success
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
      description: Stable identifier, for example V(orphan_changed).
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
