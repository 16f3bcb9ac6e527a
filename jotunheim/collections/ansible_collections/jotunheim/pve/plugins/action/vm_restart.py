"""Action plugin: a restart, if changes wait for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import power, waiting
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

OPERATION = "restart"


class ActionModule(PveAction):
    """See plugins/modules/vm_restart.py for the documentation."""

    ARGUMENTS = {
        "restart": {"type": "str", "default": "never", "choices": ["never", "if_needed"]},
        "timeout_seconds": {"type": "int", "default": 120},
        "force": {"type": "bool", "default": False},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Find out what waits, and restart a running VM for it if that is wanted."""
        if self.checking and not self.vm_exists():
            return self.outcome(Plan(), waiting={}, restarted=False)
        config = vm.owned_config()
        wanted = args["restart"] == "if_needed"
        if wanted and not self.checking and power.rebooted(vm, OPERATION, args["timeout_seconds"]):
            return self._restarted(vm, _plan({}))
        status = self.predicted_status() or str(vm.status()["status"])
        found = _waiting(vm, status, config, self.guest_changes(), self.predicted_config())
        if not found or not wanted:
            return self.outcome(Plan(), waiting=found, restarted=False)
        plan = _plan(found)
        if self.checking:
            return self.outcome(plan, waiting={}, restarted=True)
        power.reboot(vm, OPERATION, args["timeout_seconds"], force=args["force"])
        return self._restarted(vm, plan)

    def _restarted(self, vm: Vm, plan: Plan) -> dict[str, Any]:
        left = _waiting(vm, str(vm.status()["status"]), vm.owned_config())
        return self.outcome(plan, waiting=left, restarted=True, **self.tell_proven(guest_changes=[]))


def _waiting(
    vm: Vm,
    status: str,
    config: Config,
    guest_changes: Iterable[str] = (),
    predicted: Config | None = None,
) -> dict[str, str]:
    return waiting.read(vm, config, guest_changes, predicted) if status == "running" else {}


def _plan(found: dict[str, str]) -> Plan:
    applied = [Change(f"waiting.{key}", state, None) for key, state in found.items()]
    return Plan(changes=[Change("status", "running", "running (restarted)"), *applied])
