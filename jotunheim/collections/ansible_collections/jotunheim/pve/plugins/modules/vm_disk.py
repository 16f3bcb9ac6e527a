"""Documentation of the action plugin plugins/action/vm_disk.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_disk
version_added: 0.1.0
short_description: Grow a disk of the VM of this host
description:
  - Grows a disk to an absolute size. Proxmox VE cannot shrink disks, so a smaller size is refused with the code C(invalid_input).
options:
  size_bytes:
    description: Wanted size in bytes, a multiple of 1 MiB. A size below the present one is refused.
    type: int
    required: true
  device:
    description: For example V(scsi0). Default is the disk that the VM boots from.
    type: str
  timeout_seconds:
    description: How long to wait for a disk to be resized, in seconds.
    type: int
    default: 600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Grow the system disk to 20 GiB
  jotunheim.pve.vm_disk:
    size_bytes: 21474836480
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
