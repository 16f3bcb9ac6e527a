"""Action plugin: a VM's power state."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import power
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_power.py for the documentation."""

    ARGUMENTS = {
        "state": {"type": "str", "required": True, "choices": [state.value for state in power.Power]},
        "timeout_seconds": {"type": "int", "default": 120},
        "force": {"type": "bool", "default": False},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Look at the VM's status and make the one call that leads to the wanted state."""
        if self.checking and not self.vm_exists():
            status = "stopped"  # as a clone is when it has just been made
        else:
            vm.client.settle(power.OPERATION, args["timeout_seconds"])
            if not self.proven():
                vm.owned_config()
            status = str(vm.status()["status"])
        needed = power.step(status, power.Power(args["state"]))
        if needed is None:
            return self.outcome(Plan())
        if not self.checking:
            power.perform(vm, needed, args["timeout_seconds"], force=args["force"])
        return self.outcome(needed.plan)
