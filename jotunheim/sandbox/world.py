"""What all handlers share: the state, the running tasks, locks, the clock, faults and the request log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jotunheim.sandbox import state as state_module
from jotunheim.sandbox.errors import ApiError, failure, missing_config
from jotunheim.sandbox.faults import Faults
from jotunheim.sandbox.locks import Locks
from jotunheim.sandbox.requestlog import RequestLog
from jotunheim.sandbox.settings import Settings
from jotunheim.sandbox.state import State, Vm, Volume
from jotunheim.sandbox.tasks import Tasks
from jotunheim.sandbox.volumes import Volumes

if TYPE_CHECKING:
    from jotunheim.sandbox.guests.manager import Guests


log = logging.getLogger("jotunheim.sandbox")


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
        self.guests: Guests | None = None
        """What runs in the VMs; None with `--guests none`."""
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
        if self.guests:
            self.guests.cut_all()
        self._install(state)
        self._boot_running()

    def begin_guests(self, guests: "Guests") -> None:
        """Give the VMs real guests from now on; those that run already boot."""
        self.guests = guests
        if any(volume.files for volume in self.volumes):
            log.warning(
                "the files of the guests ended with the last sandbox: disks are like the template's now"
            )
        self._boot_running()

    def _boot_running(self) -> None:
        for vm in self.state.vms.values():
            if vm.run and self.guests:
                self.guests.boot(vm)

    def dump(self) -> dict[str, Any]:
        """The state as JSON values, for a file or the control endpoint."""
        self.state.volumes = self.volumes.export()
        self.state.tasks = list(self.tasks.archive.values())
        return state_module.dump(self.state)

    async def files_of(self, volume: Volume) -> str | None:
        """The files for a copy of a volume; with guests only."""
        return await self.guests.disks.for_copy(volume) if self.guests else None

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
