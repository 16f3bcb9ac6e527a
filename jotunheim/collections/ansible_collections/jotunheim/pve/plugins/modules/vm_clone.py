"""Documentation of the action plugin plugins/action/vm_clone.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_clone
version_added: 0.1.0
short_description: Clone a template to the VM of this host
description:
  - Makes the VM C(pve_vmid) on C(pve_node) from a template of the same node. The new VM carries C(pve_uuid) in its notes from the start.
  - Nothing happens when that VM exists already. A clone that an earlier, interrupted run started is waited for and not started again.
  - When the VMID belongs to another VM, the task fails with the code C(vmid_taken) and names the VMIDs in use.
options:
  template_vmid:
    description: VMID of the template.
    type: int
    required: true
  name:
    description: Name of the new VM, a DNS name.
    type: str
    required: true
  full:
    description:
      - Copy the disks. Otherwise they are linked to those of the template, which can then not be removed.
      - On a storage that cannot link, they are copied in any case.
    type: bool
    default: false
  storage:
    description: Storage for the disks of a full clone. Default is where those of the template are. Not used for linked clones.
    type: str
  pool:
    description: Resource pool to put the VM in.
    type: str
  timeout_seconds:
    description: How long to wait for the clone, in seconds.
    type: int
    default: 1800
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Clone the template
  jotunheim.pve.vm_clone:
    template_vmid: 9000
    name: web-1
    full: true
"""

RETURN = r"""
upids:
  description: Proxmox VE's ids of the tasks that were started or taken over.
  returned: when there were any
  type: list
  elements: str
taken_vmids:
  description: All VMIDs that the token can see in the cluster.
  returned: on C(vmid_taken)
  type: list
  elements: int
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
