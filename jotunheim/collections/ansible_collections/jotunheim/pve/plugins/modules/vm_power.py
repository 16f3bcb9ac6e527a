"""Documentation of the action plugin plugins/action/vm_power.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_power
version_added: 0.1.0
short_description: Bring the VM of this host to a power state
description:
  - Does nothing when the VM is in the wanted state.
options:
  state:
    description:
      - V(started) and V(stopped) are reached at once; V(stopped) is pulling the plug.
      - V(shutdown) asks the guest to stop.
      - V(rebooted) and V(reset) restart a running VM, with and without asking the guest, and always report a
        change. A stopped VM is started instead. Run by Jotunheim, they are not repeated when an earlier
        attempt of the same job did them.
    type: str
    required: true
    choices: [started, stopped, shutdown, rebooted, reset]
  timeout_seconds:
    description: What the guest gets to shut down, in seconds.
    type: int
    default: 120
  force:
    description:
      - Stop the VM when the guest did not shut down in time, and start it again for V(rebooted).
      - Otherwise the task fails with the code C(shutdown_timeout) and the VM runs on.
    type: bool
    default: false
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Start the server
  jotunheim.pve.vm_power:
    state: started
"""

RETURN = r"""
status_before:
  description: Status of the VM before the task, V(running) or V(stopped).
  returned: success
  type: str
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
