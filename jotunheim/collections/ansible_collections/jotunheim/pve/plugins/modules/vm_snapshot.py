"""Documentation of the action plugin plugins/action/vm_snapshot.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_snapshot
version_added: 0.1.0
short_description: Take, delete or go back to a snapshot of the VM of this host
description:
  - V(present) and V(absent) do nothing the second time. A snapshot that is there is left as it is.
  - V(rolled_back) is a command. It is carried out and reports a change every time; run by Jotunheim, not
    again when an earlier attempt of the same job did it.
options:
  state:
    description:
      - V(present) takes the snapshot, V(absent) deletes it.
      - V(rolled_back) brings disks and configuration back to the snapshot. What was written since is lost.
        A running VM is stopped for it. It runs afterwards if the snapshot has its memory.
    type: str
    required: true
    choices: [present, absent, rolled_back]
  name:
    description: Name of the snapshot, 2 to 40 letters, digits, hyphens and underscores, a letter first. V(current) and V(pending) are reserved.
    type: str
    required: true
  description:
    description: What the snapshot is for. For V(present).
    type: str
  with_memory:
    description: Keep the memory too, if the VM runs. For V(present).
    type: bool
    default: false
  limit:
    description: How many snapshots the VM may have once this one is taken. More fail with the code C(resource_limit_exceeded). For V(present).
    type: int
  start:
    description: Start the VM after going back to a snapshot without memory. For V(rolled_back).
    type: bool
    default: false
  timeout_seconds:
    description: How long to wait for the task of Proxmox VE, in seconds.
    type: int
    default: 1800
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Take a snapshot before the upgrade
  jotunheim.pve.vm_snapshot:
    state: present
    name: before-upgrade
    description: Debian 12, all well
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
