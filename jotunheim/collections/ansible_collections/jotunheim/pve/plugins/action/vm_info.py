"""Action plugin: what a VM is right now."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import facts
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_info.py for the documentation."""

    ARGUMENTS = {
        "agent_timeout_seconds": {"type": "int", "default": 0},
        "require_owned": {"type": "bool", "default": False},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read configuration and status, and ask the guest agent if wanted."""
        found = facts.read(vm, args["agent_timeout_seconds"])
        if args["require_owned"] and found["exists"]:
            vm.prove_ours(found["config"])
        return self.outcome(Plan(), vm=found)
