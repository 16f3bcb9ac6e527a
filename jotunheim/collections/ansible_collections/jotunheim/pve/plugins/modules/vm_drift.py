"""Documentation of the action plugin plugins/action/vm_drift.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_drift
version_added: 0.1.0
short_description: Say what differs between the VM of this host and what is wanted of it
description:
  - Compares the VM with what M(jotunheim.pve.vm_config) and M(jotunheim.pve.vm_firewall) would make of it, by the same plans.
  - What is wanted stands in the host's variables C(pve_config_*) and C(pve_firewall_*), which are called as the options of these two
    plugins. What is not set is not compared. Unlike M(jotunheim.pve.vm_config), a disk that is larger than wanted is a difference and
    no error.
  - Only reads, in check mode and out of it; C(changed) says that something differs.
  - A missing VM, and one that is somebody else's, are results and no failures. Of the latter nothing but its UUID is told.
  - Passwords are not compared, since Proxmox VE does not tell them.
options:
  power:
    description: Whether the VM should run, V(running) or V(stopped). Left out, it is not compared.
    type: str
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Compare the VM with what is wanted
  jotunheim.pve.vm_drift:
    power: stopped
  register: compared
"""

RETURN = r"""
drift:
  description: What was found.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether this node has a VM C(pve_vmid).
      type: bool
    owned:
      description: Whether it carries C(pve_uuid), in its SMBIOS data or in its notes.
      type: bool
    identified:
      description: Whether its SMBIOS UUID is C(pve_uuid).
      type: bool
    digest:
      description: Proxmox VE's digest of the configuration; null when the VM is not ours.
      type: str
    differences:
      description: >-
        Each with C(setting), C(found) and C(recorded), of which long ones are cut. C(exists), C(owner), C(mark) and C(power) are about
        the VM as a whole; settings of the firewall begin with C(firewall.).
      type: list
      elements: dict
    settings:
      description: The VM's settings in our units; null when the VM is not ours.
      type: dict
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: Stable identifier, for example V(node_unavailable).
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
