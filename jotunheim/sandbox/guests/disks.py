"""Which files are on which disk, for all that can become of a disk: clones, snapshots, backups, moves.

Files belong to a volume and go where it goes. A copy of a disk shares its files (a snapshot and a backup
too) until a guest boots from one of them: that one gets files of its own then. Only of a disk that a guest is
using at the moment a copy is made at once. Files that nothing refers to any more are removed.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from jotunheim.sandbox.guests.link import GuestGoneError, SupervisorLink
from jotunheim.sandbox.state import Volume

if TYPE_CHECKING:
    from jotunheim.sandbox.world import World

log = logging.getLogger("jotunheim.sandbox")

SWEEP_SECONDS = 1.0
COPY_SECONDS = 900.0
"""How long a copy may wait for the snapshot, backup or disk that it is meant for."""


class DiskFiles:
    """The files of all disks."""

    def __init__(self, world: "World", supervisor: SupervisorLink) -> None:
        self._world = world
        self._supervisor = supervisor
        self._names = (f"{secrets.token_hex(6)}n{number}" for number in count(1))
        self._known: dict[str, float] = {}
        """Until when (monotonic time) files may be there that nothing refers to: a backup takes its time."""
        self.in_use: Counter[str] = Counter()
        """Files by the guests that use them."""

    def of(self, volume: Volume) -> str | None:
        """The files that are on a volume; None: those of a fresh template."""
        files = self._world.volumes.files(volume)
        return files if files in self._known else None

    async def for_copy(self, volume: Volume) -> str | None:
        """The files for a copy of a volume as it is now."""
        files = self.of(volume)
        if files is None or not self.in_use[files]:
            return files
        copy = await self._make("copy", files)
        self._known[copy] = time.monotonic() + COPY_SECONDS
        return copy

    async def own(self, volume: Volume) -> str:
        """The files of a volume from which a guest is about to boot: its own from now on, and in use."""
        files = self.of(volume)
        if files is None:
            files = volume.files = await self._make("create")
        elif volume.files != files or self._references()[files] > 1:
            files = volume.files = await self._make("copy", files)
        self.in_use[files] += 1
        return files

    async def _make(self, op: str, source: str | None = None) -> str:
        name = next(self._names)
        if source is None:
            await self._supervisor.request(op, files=name)
        else:
            self.in_use[source] += 1  # nobody takes it away meanwhile
            try:
                await self._supervisor.request(op, files=name, source=source)
            finally:
                self.in_use[source] -= 1
        self._known[name] = 0.0
        return name

    def _references(self) -> Counter[str]:
        return Counter(name for name in self._named() if name is not None)

    def _named(self) -> Iterator[str | None]:
        for volume in self._world.volumes:
            yield volume.files
            if volume.backup:
                yield from volume.backup.files.values()
        for vm in self._world.state.vms.values():
            for snapshot in vm.snapshots.values():
                yield from snapshot.files.values()

    async def sweep(self) -> None:
        """Remove files that nothing refers to any more, again and again."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            referred = self._references()
            for name, until in list(self._known.items()):
                if referred[name]:
                    self._known[name] = 0.0
                elif time.monotonic() > until and not self.in_use[name]:
                    del self._known[name]
                    try:
                        await self._supervisor.request("remove", files=name)
                    except OSError as error:
                        log.warning("the files of a deleted disk stay: %s", error)
                    except GuestGoneError:
                        return
