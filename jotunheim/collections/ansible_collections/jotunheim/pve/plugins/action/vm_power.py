"""Action plugin: a VM's power state."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import power
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.power import Power
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_power.py for the documentation."""

    ARGUMENTS = {
        "state": {"type": "str", "required": True, "choices": [state.value for state in Power]},
        "timeout_seconds": {"type": "int", "default": 120},
        "force": {"type": "bool", "default": False},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Look at the VM's status and make the one call that leads to the wanted state."""
        wanted = Power(args["state"])
        done = False
        if self.vm_is_new() or (self.checking and not self.vm_exists()):
            status = "stopped"  # as a clone is when it has just been made
        else:
            if not self.proven():
                vm.owned_config()
            if not self.checking:
                done = self._earlier(vm, wanted, args["timeout_seconds"])
            status = "running" if done else self.predicted_status() or str(vm.status()["status"])
        needed = power.step(status, wanted)
        if needed is None:
            return self.outcome(Plan(), status_before=status)
        if self.checking:
            told = self.tell_predicted_status(needed.leads_to)
            return self.outcome(needed.plan, status_before=status, **told)
        if not done:
            operation = power.operation_of(wanted)
            power.perform(vm, needed, args["timeout_seconds"], force=args["force"], operation=operation)
        started = status == "stopped" or wanted is Power.REBOOTED
        seen = self.tell_started() if started else {}
        return self.outcome(needed.plan, status_before=status, **seen)

    def _earlier(self, vm: Vm, wanted: Power, timeout_seconds: int) -> bool:
        """Wait for what an earlier attempt began. Whether that was the command, so that nothing is left."""
        match wanted:
            case Power.REBOOTED:
                return power.rebooted(vm, power.operation_of(wanted), timeout_seconds)
            case Power.RESET:
                return vm.client.finished(power.operation_of(wanted), timeout_seconds)
            case _:
                vm.client.settle(power.operation_of(wanted), timeout_seconds)
                return False
