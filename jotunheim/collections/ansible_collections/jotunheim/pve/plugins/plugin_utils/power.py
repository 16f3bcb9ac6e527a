"""Power states, as something to be reached rather than a button to be pressed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxTaskFailedError

OPERATION = "power"

# Beyond the time that the guest gets, for PVE to stop it or to say that it did not.
_GRACE_SECONDS = 60


class Power(StrEnum):
    """What is wanted. The last two always change something; a stopped VM is started instead."""

    STARTED = "started"
    STOPPED = "stopped"
    SHUTDOWN = "shutdown"
    REBOOTED = "rebooted"
    RESET = "reset"


@dataclass(frozen=True)
class PowerStep:
    """The call that leads to the wanted state: one of PVE's ``status/*``, and the diff to show."""

    call: str
    plan: Plan


def step(status: str, wanted: Power) -> PowerStep | None:
    """The call that is needed from PVE's status (``running`` or ``stopped``); None: already there."""
    running = status == "running"
    match wanted:
        case Power.STARTED if running:
            return None
        case Power.STOPPED | Power.SHUTDOWN if not running:
            return None
        case Power.STOPPED:
            return _step("stop", status, "stopped")
        case Power.SHUTDOWN:
            return _step("shutdown", status, "stopped")
        case Power.REBOOTED if running:
            return _step("reboot", status, "running (rebooted)")
        case Power.RESET if running:
            return _step("reset", status, "running (reset)")
        case _:
            return _step("start", status, "running")


def perform(vm: Vm, needed: PowerStep, timeout_seconds: int, *, force: bool) -> None:
    """Make the call and wait for its task.

    Args:
        timeout_seconds: what the guest gets to shut down or reboot, and the task to end.
        force: stop the VM when the shutdown timed out.
    """
    params = {}
    if needed.call in {"shutdown", "reboot"}:
        params["timeout"] = timeout_seconds
    if needed.call == "shutdown" and force:
        params["forceStop"] = 1
    try:
        vm.client.run(
            OPERATION,
            "POST",
            vm.path("status", needed.call),
            timeout_seconds=timeout_seconds + _GRACE_SECONDS,
            **params,
        )
    except ProxmoxTaskFailedError as error:
        # An earlier attempt's start may have won. Any other failure stands, whatever the VM does now.
        if needed.call != "start" or "already running" not in error.message:
            raise


def _step(call: str, before: str, after: str) -> PowerStep:
    return PowerStep(call, Plan(changes=[Change("status", before, after)]))
