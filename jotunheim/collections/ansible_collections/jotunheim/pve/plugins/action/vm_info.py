"""Action plugin: what a VM is right now."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import facts, waiting
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_info.py for the documentation."""

    ARGUMENTS = {
        "agent_timeout_seconds": {"type": "int", "default": 0},
        "require_owned": {"type": "bool", "default": False},
        "snapshots": {"type": "bool", "default": False},
        "pending": {"type": "bool", "default": False},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read configuration and status, and ask the guest agent if wanted; snapshots and what waits too."""
        found = facts.read(vm, args["agent_timeout_seconds"])
        if args["require_owned"] and found["exists"]:
            vm.prove_ours(found["config"])
        if args["snapshots"] and found["exists"]:
            found["snapshots"] = facts.snapshots(vm)
        if args["pending"] and found["exists"]:
            running = found["status"] == "running"
            found["waiting"] = waiting.read(vm, found["config"], self.guest_changes()) if running else {}
        return self.outcome(Plan(), vm=found)
