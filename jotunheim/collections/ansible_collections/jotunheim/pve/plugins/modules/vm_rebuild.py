"""Documentation of the action plugin plugins/action/vm_rebuild.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_rebuild
version_added: 0.1.0
short_description: Give the VM of this host a new system disk
description:
  - Clones a template to a VM of its own (the scratch VM), and swaps its disk for the system disk of the VM
    C(pve_vmid). MAC addresses, name, VMID, other disks and all other settings stay; firmware, machine, kind
    of system and disk controller become those of the template.
  - There are three phases and a way out, so that the new disk can be tried before the old one goes. Each can be
    interrupted at any moment and run again. The VM itself says in its notes how far a rebuild is.
  - A failure before the swap leaves the VM as it was. When the swap fails, the old disk is put back, the new
    one removed, if the VM had it already, and the VM is started again, if it ran; the scratch VM stays for
    the next attempt. When Proxmox VE does not answer, nothing more is done, and the next attempt goes on.
options:
  phase:
    description:
      - V(prepare) clones the template to the scratch VM and grows its disk.
      - V(swap) stops the VM, keeps its system disk as an unused one, and attaches the new disk.
      - V(clean) removes the old disk and the scratch VM.
      - V(abandon) gives the rebuild up and removes the scratch VM, as long as the VM has its old disk. Once the
        disks are being swapped it does nothing and says so.
    type: str
    required: true
    choices: [prepare, swap, clean, abandon]
  template_vmid:
    description: VMID of the template. It must be on the same node and have one disk.
    type: int
    required: true
  scratch_vmid:
    description: Free VMID for the scratch VM.
    type: int
    required: true
  rebuild_id:
    description:
      - Identifies this rebuild, up to 64 letters, digits and the characters C(._:-). A second run with the
        same one changes nothing, another one rebuilds again.
    type: str
    required: true
  full:
    description: Copy the disk. Otherwise it is linked to that of the template, where its storage can link.
    type: bool
    default: false
  storage:
    description: Storage for a copied disk. Default is where that of the template is.
    type: str
  disk_bytes:
    description: Size of the new disk in bytes, a multiple of 1 MiB. Default is that of the template.
    type: int
  destroy_snapshots:
    description:
      - Destroy the snapshots of the VM, which hold its old disk. Otherwise they forbid the rebuild with the
        code C(snapshots_exist).
    type: bool
    default: false
  keep_scratch:
    description: Leave the scratch VM for another attempt when the rebuild is abandoned.
    type: bool
    default: false
  timeout_seconds:
    description: How long to wait for each task, in seconds.
    type: int
    default: 1800
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Clone the template aside
  jotunheim.pve.vm_rebuild:
    phase: prepare
    template_vmid: 9000
    scratch_vmid: 1900
    rebuild_id: 2026-11-24-1
"""

RETURN = r"""
old_disk:
  description: Volume of the replaced disk.
  returned: success of V(swap)
  type: str
new_disk:
  description: Volume of the new disk; null in check mode.
  returned: success of V(swap)
  type: str
snapshots_destroyed:
  description: Names of the snapshots that this run destroyed.
  returned: success of V(swap)
  type: list
  elements: str
abandoned:
  description: Whether the rebuild was given up; otherwise it is too late for that.
  returned: success of V(abandon)
  type: bool
removed:
  description:
    - Volumes that were removed, in check mode those that would be. Old disks, and new ones that an earlier
      attempt had to leave behind.
  returned: success of V(clean)
  type: list
  elements: str
taken_vmids:
  description: All VMIDs that the token can see in the cluster.
  returned: on C(vmid_taken), when the scratch VMID belongs to another VM
  type: list
  elements: int
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
