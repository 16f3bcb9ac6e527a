"""Documentation of the action plugin plugins/action/vm_connection.py; there is no module to send to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_connection
version_added: 0.1.0
short_description: Choose the connection into the guest of this host's VM
description:
  - Tells which connection plugin the tasks that follow shall use, for R(ansible_connection,ansible_collections.ansible.builtin.ssh_connection).
    The role C(pve_connection) sets it.
  - V(auto) is the guest agent when the VM runs, has its agent switched on and no Windows, and the agent answers and may run commands;
    otherwise SSH. Whether SSH works is not tried.
options:
  use:
    description: The connection, or how it is chosen.
    type: str
    choices: [auto, guest_agent, ssh]
    default: auto
  agent_timeout_seconds:
    description: How long a silent agent is waited for before V(auto) is SSH, in seconds.
    type: int
    default: 0
extends_documentation_fragment:
  - jotunheim.pve.connection
"""

EXAMPLES = r"""
- name: Choose the connection
  jotunheim.pve.vm_connection:
    agent_timeout_seconds: 60
  register: chosen

- name: Use it from now on
  ansible.builtin.set_fact:
    ansible_connection: "{{ chosen.connection }}"
"""

RETURN = r"""
connection:
  description: Name of the connection plugin.
  returned: success
  type: str
  sample: jotunheim.pve.guest_agent
reason:
  description: Why it is this one.
  returned: success
  type: str
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
