"""Action plugin: what was begun on a VM comes to its end."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import settle
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_settle.py for the documentation."""

    ARGUMENTS = {
        "upids": {"type": "list", "elements": "str", "default": []},
        "stop": {"type": "bool", "default": False},
        "timeout_seconds": {"type": "int", "default": 1800},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Stop the tasks that shall be stopped, then wait until no task is at the VM."""
        running = settle.running_among(vm, args["upids"])
        stopped = running if args["stop"] else []
        plan = Plan(changes=[Change(f"task {upid}", "running", "stopped") for upid in stopped])
        if not self.checking:
            for upid in stopped:
                settle.stop(vm, upid)
            settle.settle(vm, running, args["timeout_seconds"])
        return self.outcome(plan, stopped=stopped)
