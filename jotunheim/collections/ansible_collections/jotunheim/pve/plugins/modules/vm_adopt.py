"""Documentation of the action plugin plugins/action/vm_adopt.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_adopt
version_added: 0.1.0
short_description: Mark a VM that somebody else has made as the server of this host
description:
  - Writes C(jotunheim:server=<uuid>) as the first line of the VM's notes, above the text that is there. When the SMBIOS UUID
    of the VM is another one than C(pve_uuid), that is set too, and its other SMBIOS fields are kept; a running guest sees it at its
    next start. Nothing else is changed.
  - Refuses a template, a VM that is marked for another server, and one whose SMBIOS UUID is neither O(smbios_uuid) nor
    C(pve_uuid), with the code C(vm_not_ours); one that is locked with C(vm_locked).
  - Sends the digest of what it read, so that a change by someone else in the meantime is not overwritten (code C(config_changed)).
options:
  state:
    description: V(present) marks the VM, V(absent) takes the mark of this server off its notes; the SMBIOS UUID stays.
    type: str
    choices: [present, absent]
    default: present
  smbios_uuid:
    description: The SMBIOS UUID that the VM had when it was chosen. Empty if it had none.
    type: str
    default: ''
  replaces:
    description: The UUID of the server whose mark may be replaced, or stands there again. Empty if no other mark may be.
    type: str
    default: ''
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Mark the VM as the server's
  jotunheim.pve.vm_adopt:
    smbios_uuid: "{{ pve_uuid }}"
"""

RETURN = r"""
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable identifier, for example V(vm_not_ours).
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
