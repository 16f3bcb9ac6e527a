"""Action plugin: which way there is into the guest, its agent or SSH."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_calls import why_no_commands
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

_PLUGINS = {"guest_agent": "jotunheim.pve.guest_agent", "ssh": "ansible.builtin.ssh"}


class ActionModule(PveAction):
    """See plugins/modules/vm_connection.py for the documentation."""

    ARGUMENTS = {
        "use": {"type": "str", "choices": ["auto", "guest_agent", "ssh"], "default": "auto"},
        "agent_timeout_seconds": {"type": "int", "default": 0},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """The agent if it can run commands, else SSH; or what was chosen, without a look."""
        use, reason = args["use"], "It was chosen."
        if use == "auto":
            missing = why_no_commands(vm, vm.owned_config(), args["agent_timeout_seconds"])
            use, reason = ("ssh", missing) if missing else ("guest_agent", "The guest agent answers.")
        return self.outcome(Plan(), connection=_PLUGINS[use], reason=reason)
