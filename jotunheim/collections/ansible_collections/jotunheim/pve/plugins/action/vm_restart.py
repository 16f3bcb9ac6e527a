"""Action plugin: a restart, if changes wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ansible_collections.jotunheim.pve.plugins.plugin_utils import power, waiting
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

OPERATION = "restart"


@dataclass(frozen=True)
class _Earlier:
    """What earlier attempts of this job did, which the node does not tell.

    Attributes:
        unseen: keys that they changed for the guest, and that it does not have: it has not been started since.
        restarted: whether they restarted the VM. The answer to that request may have been lost.
    """

    unseen: frozenset[str] = frozenset()
    restarted: bool = False

    @classmethod
    def read(cls, vm: Vm, status: Mapping[str, Any]) -> Self:
        """From the job's notes and the time when the VM was started, which is told in whole seconds."""
        changes = vm.client.noted(waiting.CHANGED_FOR_GUEST)
        if not changes and not vm.client.noted(OPERATION):
            return cls()
        started = time.time() - float(status.get("uptime", 0))
        restarts = [at for at, _ in vm.client.noted(OPERATION) if at <= started]
        seen_until = max(restarts, default=started - 1)
        return cls(frozenset(key for at, keys in changes if at > seen_until for key in keys), bool(restarts))


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
        now = vm.status()
        earlier = _Earlier.read(vm, now)
        status = self.predicted_status() or str(now["status"])
        unseen = [*self.guest_changes(), *earlier.unseen]
        found = _waiting(vm, status, config, unseen, self.predicted_config())
        if not found or not wanted:
            return self.outcome(Plan(), waiting=found, restarted=wanted and earlier.restarted)
        plan = _plan(found)
        if self.checking:
            return self.outcome(plan, waiting={}, restarted=True)
        vm.client.note(OPERATION)
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
