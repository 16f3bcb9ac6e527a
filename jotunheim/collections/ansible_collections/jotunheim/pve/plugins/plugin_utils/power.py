"""Power states, as something to be reached rather than a button to be pressed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxTaskFailedError, ShutdownTimeoutError

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

    @property
    def leads_to(self) -> str:
        """PVE's status afterwards."""
        return "stopped" if self.call in {"stop", "shutdown"} else "running"


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


def operation_of(wanted: Power) -> str:
    """The journal's name: states show what is done already, of commands only the journal knows."""
    match wanted:
        case Power.REBOOTED:
            return "reboot"
        case Power.RESET:
            return "reset"
        case _:
            return OPERATION


def perform(
    vm: Vm, needed: PowerStep, timeout_seconds: int, *, force: bool, operation: str = OPERATION
) -> None:
    """Make the call and wait for its task.

    Args:
        timeout_seconds: what the guest gets to shut down or reboot, and the task to end.
        force: stop the VM when the guest did not shut down in time.
        operation: the journal's name for it.

    Raises:
        ShutdownTimeoutError: it did not, and `force` is not given.
    """
    if needed.call == "reboot":
        reboot(vm, operation, timeout_seconds, force=force)
        return
    params = {}
    if needed.call == "shutdown":
        params["timeout"] = timeout_seconds
        if force:
            params["forceStop"] = 1
    try:
        vm.client.run(
            operation,
            "POST",
            vm.path("status", needed.call),
            timeout_seconds=timeout_seconds + _GRACE_SECONDS,
            **params,
        )
    except ProxmoxTaskFailedError as error:
        # An earlier attempt's start may have won. Any other failure stands, whatever the VM does now.
        if needed.call != "start" or "already running" not in error.message:
            raise


def reboot(vm: Vm, operation: str, timeout_seconds: int, *, force: bool) -> None:
    """Restart a running VM, which applies what is pending.

    Args:
        operation: the journal's name for it. Stop and start of a forced one have names of their own.
        timeout_seconds: what the guest gets to shut down.
        force: stop and start the VM when it did not.

    Raises:
        ShutdownTimeoutError: the guest did not shut down, and `force` is not given.
    """
    wait_seconds = timeout_seconds + _GRACE_SECONDS
    path = vm.path("status", "reboot")
    try:
        vm.client.run(operation, "POST", path, timeout_seconds=wait_seconds, timeout=timeout_seconds)
    except ShutdownTimeoutError:
        if not force:
            raise
        vm.client.run(f"{operation} stop", "POST", vm.path("status", "stop"), timeout_seconds=wait_seconds)
        _start(vm, operation, wait_seconds)


def rebooted(vm: Vm, operation: str, timeout_seconds: int) -> bool:
    """Whether an earlier attempt of this job has rebooted the VM. If it only came to stop it, it is started now.

    The caller has proved that the VM is ours.
    """
    wait_seconds = timeout_seconds + _GRACE_SECONDS
    if vm.client.finished(operation, wait_seconds):
        return True
    if not vm.client.finished(f"{operation} stop", wait_seconds):
        return False
    vm.client.settle(f"{operation} start", wait_seconds)
    if vm.status()["status"] != "running":
        _start(vm, operation, wait_seconds)
    return True


def _start(vm: Vm, operation: str, wait_seconds: int) -> None:
    vm.client.run(f"{operation} start", "POST", vm.path("status", "start"), timeout_seconds=wait_seconds)


def _step(call: str, before: str, after: str) -> PowerStep:
    return PowerStep(call, Plan(changes=[Change("status", before, after)]))


def reach(vm: Vm, wanted: Power, timeout_seconds: float) -> None:
    """Bring a VM to a power state, unless it is in it."""
    needed = step(str(vm.status()["status"]), wanted)
    if needed is not None:
        perform(vm, needed, int(timeout_seconds), force=False)
