"""Snapshots: taking, deleting and going back to one, each once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import MASK, Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import ProxmoxLockedError, SnapshotBrokenError, SnapshotNotFoundError
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.proxmox import api_path

# PVE's format `pve-configid`, and its limit for snapshots' names.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]+")
_LONGEST_NAME = 40
_RESERVED = frozenset({"current", "pending"})

# Keys of a snapshot that do not become the VM's. Its description is its own.
_NOT_RESTORED = frozenset(
    {"description", "digest", "lock", "runningcpu", "runningmachine", "snapstate", "snaptime", "vmstate"}
)

Entry = Mapping[str, Any]


class State(StrEnum):
    """What is wanted. The last one is a command: it is carried out every time."""

    PRESENT = "present"
    ABSENT = "absent"
    ROLLED_BACK = "rolled_back"


OPERATIONS = {State.PRESENT: "snapshot", State.ABSENT: "snapshot delete", State.ROLLED_BACK: "rollback"}
_START_OPERATION = "rollback start"


@dataclass(frozen=True)
class Snapshot:
    """A wanted snapshot.

    Attributes:
        with_memory: keep the RAM too; of a stopped VM there is none.
        limit: how many snapshots the VM may have once this one is taken; None: any number.
        start: start the VM after a rollback that leaves it stopped.
        timeout_seconds: how long to wait for the task.
    """

    name: str
    description: str | None = None
    with_memory: bool = False
    limit: int | None = None
    start: bool = False
    timeout_seconds: int = 1800


@dataclass(frozen=True)
class Found:
    """What a VM has.

    Attributes:
        entries: the snapshots by name, as PVE lists them.
        running: whether the VM runs.
        lock: the VM's lock, or None.
    """

    entries: Mapping[str, Entry]
    running: bool
    lock: str | None

    def is_broken(self, name: str) -> bool:
        """Whether this snapshot is there and unfinished."""
        return bool(self.entries.get(name, {}).get("snapstate"))


def check_name(name: str) -> None:
    """Raise DataValidationError for a name that PVE would not take."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        rule = f"must be 2 to {_LONGEST_NAME} letters, digits, hyphens and underscores, a letter first"
        raise DataValidationError([FieldProblem("name", rule)])
    if name.lower() in _RESERVED:
        raise DataValidationError([FieldProblem("name", f"{name!r} is reserved by Proxmox VE")])


def read(vm: Vm, config: Mapping[str, Any]) -> Found:
    """The VM's snapshots, with the entry for the present state left out."""
    listed: Iterable[Entry] = vm.client.get(vm.path("snapshot"))
    by_name = {str(entry["name"]): entry for entry in listed}
    current = by_name.pop("current", {})
    return Found(by_name, bool(current.get("running", 0)), config.get("lock"))


def plan(found: Found, state: State, wanted: Snapshot) -> Plan:
    """What there is to do.

    Raises:
        SnapshotNotFoundError: there is no snapshot to go back to.
        ResourceLimitExceededError: one more would be too many.
    """
    entry = found.entries.get(wanted.name)
    key = f"snapshots.{wanted.name}"
    match state:
        case State.PRESENT if entry is None:
            _check_limit(found, wanted)
            kind = "with memory" if wanted.with_memory and found.running else "disks"
            return Plan(changes=[Change(key, None, kind)])
        case State.ABSENT if entry is not None:
            return Plan(changes=[Change(key, _kind(entry), None)])
        case State.ROLLED_BACK:
            if entry is None:
                raise SnapshotNotFoundError(f"The VM has no snapshot {wanted.name!r}.")
            return _rollback(found, wanted)
        case _:
            return Plan()


def check_usable(vm: Vm, found: Found, state: State, name: str) -> None:
    """Refuse to start what Proxmox VE would fail late.

    Raises:
        SnapshotBrokenError: the snapshot was never finished, and nothing works on it any more.
        ProxmoxLockedError: something else is going on.
    """
    broken = found.entries.get(name, {}).get("snapstate")
    if found.lock is None and (not broken or state is State.ABSENT):
        return  # an unfinished snapshot without a lock can still be deleted
    if broken and (found.lock is None or not _task_runs(vm)):
        lock = f"`qm unlock {vm.vmid}`, then " if found.lock else ""
        raise SnapshotBrokenError(
            f"Snapshot {name!r} of VM {vm.vmid} on node {vm.node} was never finished (state {broken!r}).",
            hint=f"On the node: {lock}`qm delsnapshot {vm.vmid} {name} --force`.",
        )
    raise ProxmoxLockedError(
        f"VM {vm.vmid} on node {vm.node} is locked ({found.lock}).",
        hint="Another operation on this VM is running; the node's task list shows which. Try again when it has ended.",
    )


def predicted(vm: Vm, config: Config, name: str) -> Config:
    """The configuration after a rollback, for check mode: the snapshot's, with the notes of today."""
    kept = {key: value for key, value in config.items() if key.startswith("unused") or key == "description"}
    read: Config = dict(vm.client.get(vm.path("snapshot", name, "config")))
    after = {key: value for key, value in read.items() if key not in _NOT_RESTORED} | kept
    if "cipassword" in after:
        after["cipassword"] = MASK  # whatever this version of Proxmox VE shows
    return after | {"parent": name}


def perform(vm: Vm, found: Found, state: State, wanted: Snapshot) -> None:
    """Make the call and wait for its task."""
    with_memory = wanted.with_memory and found.running
    match state:
        case State.PRESENT:
            vm.client.run(
                OPERATIONS[state],
                "POST",
                vm.path("snapshot"),
                timeout_seconds=wanted.timeout_seconds,
                snapname=wanted.name,
                description=wanted.description or None,
                vmstate=True if with_memory else None,
            )
        case State.ABSENT:
            path = vm.path("snapshot", wanted.name)
            vm.client.run(OPERATIONS[state], "DELETE", path, timeout_seconds=wanted.timeout_seconds)
        case State.ROLLED_BACK:
            path = vm.path("snapshot", wanted.name, "rollback")
            vm.client.run(OPERATIONS[state], "POST", path, timeout_seconds=wanted.timeout_seconds)


def start(vm: Vm, wanted: Snapshot) -> bool:
    """Start the VM after a rollback, if that is wanted and it is stopped. Whether it had to be started."""
    if not wanted.start:
        return False
    vm.client.settle(_START_OPERATION, wanted.timeout_seconds)
    if vm.status()["status"] == "running":
        return False
    path = vm.path("status", "start")
    vm.client.run(_START_OPERATION, "POST", path, timeout_seconds=wanted.timeout_seconds)
    return True


def _check_limit(found: Found, wanted: Snapshot) -> None:
    if wanted.limit is not None and len(found.entries) >= wanted.limit:
        raise ResourceLimitExceededError(
            f"The VM has {len(found.entries)} snapshots, and may have {wanted.limit}.",
            hint="Delete a snapshot first.",
        )


def status_after(found: Found, wanted: Snapshot) -> str:
    """PVE's status after a rollback."""
    with_memory = bool(found.entries[wanted.name].get("vmstate"))
    return "running" if with_memory or wanted.start else "stopped"


def _rollback(found: Found, wanted: Snapshot) -> Plan:
    before, after = "running" if found.running else "stopped", status_after(found, wanted)
    changes = [Change("rolled_back_to", None, wanted.name)]
    if before != after:
        changes.append(Change("status", before, after))
    return Plan(changes=changes)


def _kind(entry: Entry) -> str:
    return "with memory" if entry.get("vmstate") else "disks"


def _task_runs(vm: Vm) -> bool:
    tasks = vm.client.get(api_path("nodes", vm.node, "tasks"), source="active", vmid=vm.vmid)
    return any("endtime" not in task for task in tasks)
