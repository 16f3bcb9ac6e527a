"""One backup of a VM: made, found again, locked, and removed, each once.

The first line of its notes, the only one that lists show, says which of our backups it is. Proxmox VE writes it when the archive is
complete. One whose notes somebody has changed is known by its volume.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from ansible_collections.jotunheim.pve.plugins.plugin_utils import settle, volume
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import (
    BackupNotFoundError,
    BackupProtectedError,
    ProxmoxNotFoundError,
    ProxmoxRequestError,
)
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.configuration import BACKUP_MARK

MAKE = "backup"
REMOVE = "backup removal"
TASK_TYPE = "vzdump"

_TOO_MANY_PROTECTED = "number of protected backups"
_LOG_LINES_READ = 100
# `/var/lib/vz/dump/vzdump-qemu-100-2026_11_22-20_36_47.vma.zst`, and of a Proxmox Backup Server
# `vm/100/2026-11-22T20:36:47Z`; the volume's id ends with the same name.
_ARCHIVE = re.compile(r"creating (?:vzdump|Proxmox Backup Server) archive '(?:[^']*/)?([^'/]+)'")


class State(StrEnum):
    """What is wanted of a backup."""

    PRESENT = "present"
    ABSENT = "absent"
    LOCKED = "locked"
    UNLOCKED = "unlocked"


@dataclass(frozen=True)
class Wanted:
    """One backup.

    Attributes:
        id: its mark.
        storage: where it is, or shall be.
        volume: what it is called there; None: not known yet.
        vmid: what the VM was called when it was made.
        compress: PVE's word; a Proxmox Backup Server compresses in its own way.
        notes: what its owner says about it; they come after the mark.
        timeout_seconds: how long to wait for a task.
    """

    id: str
    storage: str
    vmid: int
    volume: str | None = None
    mode: str = "snapshot"
    compress: str = "zstd"
    notes: str = ""
    timeout_seconds: int = 21_600

    @property
    def mark(self) -> str:
        """The first line of its notes."""
        return f"{BACKUP_MARK}{self.id}"

    @property
    def marked_notes(self) -> str:
        """All of its notes."""
        return f"{self.mark}\n{self.notes}"

    @property
    def key(self) -> str:
        """What it is called in a diff."""
        return f"backups.{self.id}"


@dataclass(frozen=True)
class Archive:
    """A backup that a storage lists.

    Attributes:
        taken_at: in seconds since 1970.
    """

    volume: str
    size_bytes: int
    taken_at: int
    notes: str
    protected: bool

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """From PVE's list."""
        return cls(
            volume=str(entry["volid"]),
            size_bytes=int(entry.get("size", 0)),
            taken_at=int(entry.get("ctime", 0)),
            notes=str(entry.get("notes", "")),
            protected=bool(int(entry.get("protected", 0))),
        )

    @property
    def first_line(self) -> str:
        """Of its notes."""
        return self.notes.partition("\n")[0].strip()

    def shown(self) -> dict[str, Any]:
        """For the result of a task."""
        return {
            "volume": self.volume,
            "size_bytes": self.size_bytes,
            "taken_at": self.taken_at,
            "protected": self.protected,
        }


def find(vm: Vm, wanted: Wanted) -> Archive | None:
    """The backup, when its storage lists it; None: there is none. An error of any kind is raised.

    Raises:
        ProxmoxPermissionError: the storage may have it, and the token may not see it.
    """
    for archive in _listed(vm, wanted):
        if (
            (archive.first_line == wanted.mark)
            if wanted.volume is None
            else (archive.volume == wanted.volume)
        ):
            return archive
    if wanted.volume is not None and volume.is_there(vm, wanted.volume):
        raise BackupNotFoundError(
            f"Storage {wanted.storage} has {wanted.volume}, and does not list it among the backups of VM {wanted.vmid}.",
            hint="Look at the storage.",
        )
    return None


def plan(found: Archive | None, state: State, wanted: Wanted) -> Plan:
    """What there is to do.

    Raises:
        BackupNotFoundError: there is none to lock.
        BackupProtectedError: it is locked and shall go.
    """
    match state:
        case State.PRESENT if found is None:
            return Plan(changes=[Change(wanted.key, None, wanted.mode)])
        case State.ABSENT if found is not None:
            if found.protected:
                raise BackupProtectedError(
                    f"Backup {found.volume} is protected on its storage.", hint="Unlock it first."
                )
            return Plan(changes=[Change(wanted.key, found.volume, None)])
        case State.LOCKED | State.UNLOCKED:
            if found is None:
                raise _missing(wanted)
            locked = state is State.LOCKED
            changes = (
                [] if found.protected is locked else [Change(f"{wanted.key}.locked", not locked, locked)]
            )
            return Plan(changes=changes)
        case _:
            return Plan()


def awaited(vm: Vm, wanted: Wanted) -> None:
    """Wait for a backup of the VM that is being made, by an earlier attempt or by anybody else."""
    vm.client.settle(MAKE, wanted.timeout_seconds)
    settle.wait_for_active(vm, {vm.vmid}, {TASK_TYPE}, wanted.timeout_seconds)


def make(vm: Vm, wanted: Wanted) -> Archive:
    """Make a backup, and find it on its storage.

    Raises:
        BackupNotFoundError: the task has ended well, and the storage does not list what it made.
    """
    upid = vm.client.run(
        MAKE,
        "POST",
        api_path("nodes", vm.node, "vzdump"),
        timeout_seconds=wanted.timeout_seconds,
        vmid=vm.vmid,
        storage=wanted.storage,
        mode=wanted.mode,
        compress=wanted.compress,
        remove=False,  # else the storage's own retention would take older ones away
        **{"notes-template": wanted.mark},
    )
    name = None if upid is None else _name_in_log(vm, upid)
    archives = _listed(vm, wanted)
    for archive in archives:
        if archive.first_line == wanted.mark or archive.volume.rpartition("/")[2] == name:
            return archive
    raise BackupNotFoundError(
        f"The backup of VM {vm.vmid} has ended well, and storage {wanted.storage} does not list it.",
        hint=f"See the log of the task {upid} on node {vm.node}, and look at the storage.",
    )


def annotate(vm: Vm, archive: Archive, wanted: Wanted) -> None:
    """Give a new backup its notes, unless it has them; Proxmox VE ends a backup well even if it could not write the mark."""
    if wanted.notes.strip() or archive.first_line != wanted.mark:
        vm.client.put(volume.path(vm, archive.volume), notes=wanted.marked_notes)


def set_lock(vm: Vm, archive: Archive, *, locked: bool) -> None:
    """Protect a backup against removal, or no longer.

    Raises:
        ResourceLimitExceededError: the VM has as many protected backups on this storage as Proxmox VE allows.
    """
    try:
        vm.client.put(volume.path(vm, archive.volume), protected=locked)
    except ProxmoxRequestError as error:
        if _TOO_MANY_PROTECTED not in error.message:
            raise
        raise ResourceLimitExceededError(
            error.message,
            hint="Unlock another backup of this server. A token with Datastore.Allocate on the storage is not limited.",
        ) from None


def remove(vm: Vm, archive: Archive, wanted: Wanted) -> None:
    """Remove a backup and prove that it is gone.

    Raises:
        BackupProtectedError: it is still there.
    """
    timeout = wanted.timeout_seconds
    vm.client.run(REMOVE, "DELETE", volume.path(vm, archive.volume), timeout_seconds=timeout)
    if any(left.volume == archive.volume for left in _listed(vm, wanted)):
        raise BackupProtectedError(
            f"Backup {archive.volume} is still there, although Proxmox VE has removed it.", hint="Try again."
        )


def readable(vm: Vm, volid: str) -> str:
    """The text of the configuration in a backup.

    Raises:
        BackupNotFoundError: there is no such backup.
    """
    try:
        path = api_path("nodes", vm.node, "vzdump", "extractconfig")
        return str(vm.client.get(path, volume=volid))
    except ProxmoxNotFoundError as error:
        raise BackupNotFoundError(
            f"Node {vm.node} has no backup {volid}: {error.message}",
            hint="See whether its storage is there, and whether somebody has removed it.",
        ) from None


def _listed(vm: Vm, wanted: Wanted) -> list[Archive]:
    path = api_path("nodes", vm.node, "storage", wanted.storage, "content")
    entries: Iterable[Mapping[str, Any]] = vm.client.get(path, content="backup", vmid=wanted.vmid)
    return [Archive.of(entry) for entry in entries]


def _name_in_log(vm: Vm, upid: str) -> str | None:
    lines = vm.client.get(api_path("nodes", vm.node, "tasks", upid, "log"), limit=_LOG_LINES_READ)
    for line in lines:
        found = _ARCHIVE.search(str(line.get("t", "")))
        if found:
            return found[1]
    return None


def _missing(wanted: Wanted) -> BackupNotFoundError:
    what = wanted.volume or f"with the mark {wanted.id}"
    return BackupNotFoundError(f"Storage {wanted.storage} has no backup {what}.")
