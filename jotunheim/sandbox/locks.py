"""Lock files, as PVE's `flock` on `/var/lock/...`: shared or exclusive, waited for with a time limit.

These are not the `lock` in a VM's configuration, which says what a VM is busy with and which nobody
waits for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from jotunheim.sandbox.errors import failure


@dataclass
class _LockFile:
    exclusive: bool = False
    shared: int = 0
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def try_take(self, shared: bool) -> bool:
        if self.exclusive or (self.shared and not shared):
            return False
        if shared:
            self.shared += 1
        else:
            self.exclusive = True
        return True

    def release(self, shared: bool) -> None:
        if shared:
            self.shared -= 1
        else:
            self.exclusive = False
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()


class Locks:
    """All lock files of the cluster.

    A file stays once it was used, as on a real node: who waits for it must find the one that others take.
    """

    def __init__(self) -> None:
        self._files: dict[str, _LockFile] = {}

    @asynccontextmanager
    async def hold(
        self, path: str, timeout: float, *, shared: bool = False, say: Callable[[str], None] | None = None
    ) -> AsyncIterator[None]:
        """Hold a lock file.

        Args:
            path: the lock file's path; part of the error message.
            timeout: real seconds to wait for it.
            shared: a shared lock, of which there may be many.
            say: gets the lines that PVE logs while it waits.

        Raises:
            ApiError: 500, the lock was not free in time.
        """
        file = self._files.setdefault(path, _LockFile())
        if not file.try_take(shared):
            if say:
                say("trying to acquire lock...")
            try:
                async with asyncio.timeout(timeout):
                    while not file.try_take(shared):
                        waiter = asyncio.get_running_loop().create_future()
                        file.waiters.append(waiter)
                        await waiter
            except TimeoutError:
                raise failure(f"can't lock file '{path}' - got timeout") from None
            if say:
                say(" OK")
        try:
            yield
        finally:
            file.release(shared)
