"""What all handlers share: the state, the running tasks, locks, the clock, faults and the request log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from jotunheim.sandbox import state as state_module
from jotunheim.sandbox.errors import ApiError, failure, missing_config
from jotunheim.sandbox.faults import Faults
from jotunheim.sandbox.locks import Locks
from jotunheim.sandbox.requestlog import RequestLog
from jotunheim.sandbox.settings import Settings
from jotunheim.sandbox.state import State, Vm
from jotunheim.sandbox.tasks import Tasks
from jotunheim.sandbox.volumes import Volumes


class World:
    """One simulated cluster."""

    def __init__(
        self, state: State, settings: Settings, fingerprint: str = "", certificate: str = ""
    ) -> None:
        self.settings = settings
        self.faults = Faults()
        self.requests = RequestLog()
        self.fingerprint = fingerprint
        self.certificate = certificate
        self.consoles: dict[int, str] = {}
        self._install(state)

    def _install(self, state: State) -> None:
        self.state = state
        self.locks = Locks()
        self.tasks = Tasks()
        self.tasks.restore(state.tasks)
        self.volumes = Volumes(state)

    async def replace(self, state: State) -> None:
        """Cut off everything that runs and go on from another state."""
        await self.tasks.close()
        self._install(state)

    def dump(self) -> dict[str, Any]:
        """The state as JSON values, for a file or the control endpoint."""
        self.state.volumes = self.volumes.export()
        self.state.tasks = list(self.tasks.archive.values())
        return state_module.dump(self.state)

    async def sleep(self, operation: str) -> None:
        """Let an operation take its time."""
        await asyncio.sleep(self.settings.seconds(operation))

    def vm(self, node: str, vmid: int) -> Vm:
        """The VM with this id on this node, or PVE's error."""
        found = self.state.vms.get(vmid)
        if found is None or found.node != node:
            raise missing_config(node, vmid)
        return found

    @asynccontextmanager
    async def vm_lock(
        self,
        vmid: int,
        *,
        shared: bool = False,
        timeout: float | None = None,
        say: Callable[[str], None] | None = None,
    ) -> AsyncIterator[None]:
        """Hold a VM's lock file; waits as long as PVE does, unless a timeout in seconds is given."""
        path = f"/var/lock/qemu-server/lock-{vmid}.conf"
        seconds = (
            self.settings.seconds("lock_timeout") if timeout is None else timeout * self.settings.time_scale
        )
        async with self.locks.hold(path, seconds, shared=shared, say=say):
            yield


def check_lock(vm: Vm) -> None:
    """PVE's `check_lock`: refuse while the configuration carries a lock."""
    if vm.lock:
        raise failure(f"VM is locked ({vm.lock})")


def offline() -> ApiError:
    """What the proxy between nodes answers for a node that is down."""
    return ApiError(595, "No route to host", bare=True)
