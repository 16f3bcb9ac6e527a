"""Documentation of the action plugin plugins/action/vm_password.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_password
version_added: 0.1.0
short_description: Set the password of an account of the guest of this host
description:
  - The password is the variable C(pve_cloudinit_password) of the host. It is in no option, result or diff.
  - If the VM runs and its guest agent answers, the password is set in the guest at once. If the guest
    refuses, for example because it has no such account, the task fails with the code C(guest_refused) and
    nothing else is changed.
  - Then it becomes the password in cloud-init, which the guest takes at its next start. Without an agent,
    or when the VM is stopped, that is all.
  - A password that is not plain ASCII, is shorter than five characters or looks like a hash is sent as
    its SHA-512 crypt hash, since Proxmox VE would change or refuse it otherwise.
options:
  user:
    description: Account in the guest. It becomes the user of cloud-init if there is none yet.
    type: str
    required: true
  renew:
    description: Set the password also when cloud-init has it already. The task then always reports a change.
    type: bool
    default: false
  agent_timeout_seconds:
    description: How long to wait for a silent guest agent, in seconds. 0 asks once.
    type: int
    default: 0
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Set the password of the first user
  jotunheim.pve.vm_password:
    user: debian
"""

RETURN = r"""
applied:
  description: >-
    V(now) if the guest has the password, V(at_next_boot) if it takes it from cloud-init. When nothing was
    changed, V(now) if the agent answers.
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
