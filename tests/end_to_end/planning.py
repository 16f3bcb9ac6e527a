"""What tests of plans look at, and how they move it behind our back."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.sandbox import Sandbox
from tests.support.service import Service


def details(error: dict[str, Any]) -> set[str]:
    """What an error names."""
    return {detail["field"] for detail in error["details"]}


def world(sandbox: Sandbox) -> Any:
    """The hypervisor's VMs, without what changes by itself."""
    told = ("vmid", "config", "pending", "status", "lock", "snapshots", "passwords", "disks")
    return [{key: vm[key] for key in told} for vm in sandbox.control.get("/vms").json()]


def change_vm(sandbox: Sandbox, vmid: int, **change: Any) -> None:
    """Change a VM on the node behind our back."""
    sandbox.control.patch(f"/vms/{vmid}", json=change).raise_for_status()


def pve(sandbox: Sandbox, method: str, path: str, **data: Any) -> Any:
    """A request to the node by somebody else; waits for its task."""
    answer = sandbox.api.request(method, path, data=data)
    assert answer.is_success, answer.text
    upid = answer.json()["data"]
    while isinstance(upid, str) and sandbox.get(f"/nodes/pve1/tasks/{upid}/status")["status"] == "running":
        pass
    return upid


@contextmanager
def asleep(service: Service) -> Iterator[None]:
    """Nothing is worked on meanwhile."""
    [worker] = service.workers
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


@contextmanager
def noted(sandbox: Sandbox, vmid: int) -> Iterator[None]:
    """Somebody writes into a VM's notes, and takes it back at the end."""
    before = sandbox.config(vmid).get("description")
    change_vm(sandbox, vmid, config={"description": f"{before or ''}\nsomebody was here"})
    try:
        yield
    finally:
        change_vm(sandbox, vmid, config={"description": before})
