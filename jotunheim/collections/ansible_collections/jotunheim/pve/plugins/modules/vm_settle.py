"""Documentation of the action plugin plugins/action/vm_settle.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_settle
version_added: 0.1.0
short_description: Let what was begun on the VM of this host come to its end
description:
  - Waits until no task of Proxmox VE works on the VM, so that what is read of it afterwards stays true. How the
    tasks end is no failure.
  - Tasks that are named can be stopped. Others are only waited for.
options:
  upids:
    description: Ids of tasks that may still run. One that Proxmox VE does not know is over.
    type: list
    elements: str
    default: []
  stop:
    description: Stop these tasks, instead of waiting until they are done.
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
- name: Stop a clone that takes too long
  jotunheim.pve.vm_settle:
    upids: ["UPID:pve1:0003A1B2:00C0FFEE:6745D2A1:qmclone:9000:root@pam!jotunheim:"]
    stop: true
"""

RETURN = r"""
stopped:
  description: Ids of the tasks that were stopped.
  returned: success
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
