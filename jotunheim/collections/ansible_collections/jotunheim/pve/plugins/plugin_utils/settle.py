"""Tasks that earlier runs began: stopping them, and waiting for their end."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from ansible_collections.jotunheim.pve.plugins.plugin_utils import clone
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import (
    ProxmoxNotFoundError,
    ProxmoxRequestError,
    ProxmoxTimeoutError,
    ProxmoxUnavailableError,
)
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.tasks import Upid, is_upid

# Of our own doing on a VM that exists. What makes or destroys one is recognised by the VM's lock.
_TYPES = frozenset(
    {
        "qmconfig",
        "qmdelsnapshot",
        "qmmove",
        "qmreboot",
        "qmreset",
        "qmresume",
        "qmrollback",
        "qmshutdown",
        "qmsnapshot",
        "qmstart",
        "qmstop",
        "qmsuspend",
        "resize",
        "vzdump",
    }
)


def running_among(vm: Vm, upids: Iterable[str]) -> list[str]:
    """Those of these tasks that still run. One that the node has forgotten is over.

    Raises:
        DataValidationError: one is no task id.
    """
    upids = list(upids)
    wrong = [upid for upid in upids if not is_upid(upid)]
    if wrong:
        raise DataValidationError([FieldProblem("upids", f"{wrong[0]!r} is no task id")])
    return [upid for upid in upids if _runs(vm, upid)]


def stop(vm: Vm, upid: str) -> None:
    """Ask the node to stop a task. It ends a moment later."""
    with _state_tells():
        vm.client.delete(api_path("nodes", Upid.parse(upid).node, "tasks", upid))


def settle(vm: Vm, upids: Collection[str], timeout_seconds: float) -> None:
    """Wait for the end, good or bad, of these tasks, and of all others that work on the VM.

    Raises:
        ProxmoxTimeoutError: one still runs after `timeout_seconds`.
    """
    for upid in dict.fromkeys([*upids, *active_tasks(vm, {vm.vmid}, _TYPES)]):
        wait_for_end(vm, upid, timeout_seconds)
    clone.settled(vm, timeout_seconds)


def wait_for_active(vm: Vm, vmids: Collection[int], types: Collection[str], timeout_seconds: float) -> None:
    """Wait for the end, good or bad, of the node's tasks of these types on these VMs, whoever began them."""
    for upid in active_tasks(vm, vmids, types):
        wait_for_end(vm, upid, timeout_seconds)


def wait_for_end(vm: Vm, upid: str, timeout_seconds: float) -> None:
    """Wait for the end, good or bad, of one task."""
    with _state_tells():
        vm.client.wait(upid, timeout_seconds)


def active_tasks(vm: Vm, vmids: Collection[int], types: Collection[str]) -> list[str]:
    """Ids of the node's running tasks of these types that are about one of these VMs."""
    wanted = {str(vmid) for vmid in vmids}
    listed = vm.client.get(api_path("nodes", vm.node, "tasks"), source="active")
    return [
        str(task["upid"])
        for task in listed
        if task.get("type") in types
        and "endtime" not in task
        # A move's are `1901-scsi0>1101-scsi0`.
        and not wanted.isdisjoint(re.findall(r"(?:^|>)(\d+)", str(task.get("id", ""))))
    ]


def _runs(vm: Vm, upid: str) -> bool:
    try:
        status = vm.client.get(api_path("nodes", Upid.parse(upid).node, "tasks", upid, "status"))
    except ProxmoxNotFoundError:
        return False
    return bool(status.get("status") == "running")


@contextmanager
def _state_tells() -> Iterator[None]:
    """Pass over the failure of a task of an earlier attempt: what it did is seen in the VMs."""
    try:
        yield
    except (ProxmoxUnavailableError, ProxmoxTimeoutError):
        raise
    except ProxmoxRequestError:
        return
