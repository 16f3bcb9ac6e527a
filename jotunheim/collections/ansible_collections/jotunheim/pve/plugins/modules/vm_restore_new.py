"""Documentation of the action plugin plugins/action/vm_restore_new.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_restore_new
version_added: 0.1.0
short_description: Make the VM of this host from the backup of another one
description:
  - The VM gets the disks and the configuration of the backup, network devices with other MAC addresses, and the mark of this host's
    server in place of the other one's. It is stopped, does not start with its node, and Proxmox VE's own protection is off.
  - Its name is another one. Cloud-init's password and the addresses of further interfaces, which are the other VM's, are taken away.
    Everything else that tells one from the other, such as the address of the first interface, is left to M(jotunheim.pve.vm_config);
    run that before the VM starts.
  - A VM that carries the mark of this host's server is not made again. A restore that an interrupted run started is waited for, and what
    one has left that broke off is overwritten.
  - The backup, and the VM that it was made of, are only read.
options:
  volume:
    description: The backup, as Proxmox VE calls it. The node must have its storage.
    type: str
    required: true
  original_uuid:
    description: The UUID of the server that the backup was made of. Its configuration must carry it.
    type: str
    required: true
  name:
    description: Name of the new VM, a DNS name.
    type: str
    required: true
  storage:
    description: The storage for the disks. Without it they go where the backup says that they were.
    type: str
  timeout_seconds:
    description: How long to wait for a task of Proxmox VE, in seconds.
    type: int
    default: 21600
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: A second one beside the first
  jotunheim.pve.vm_restore_new:
    volume: local:backup/vzdump-qemu-100-2026_11_22-20_36_47.vma.zst
    original_uuid: 1b671a64-40d5-491e-99b0-da01ff1f3341
    name: web-2
    storage: local-lvm
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
