"""Rebuilding a server: a new system disk is made aside, then swapped for the old one, which goes last.

Every stage can be killed at any request and run again: what was done is read from the VMs (`progress`).
Until the swap, the server's VM is only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import clone, destroy, power, settle, swap
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.progress import Progress
from ansible_collections.jotunheim.pve.plugins.plugin_utils.scratch import (
    Rebuild,
    clone_of,
    creation,
    destroy_scratch,
    is_usable,
    left_over,
    scratch_of,
    scratch_settings,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm
from ansible_collections.jotunheim.pve.plugins.plugin_utils.way_back import (
    REPEAT,
    back_out,
    discard,
    explain,
    take_back,
)

from jotunheim.exceptions.repository import (
    ProxmoxRequestError,
    ProxmoxTimeoutError,
    ProxmoxUnavailableError,
    RebuildIncompleteError,
    SnapshotsExistError,
)
from jotunheim.repositories.proxmox.reads import snapshots as list_snapshots
from jotunheim.repositories.proxmox.tasks import Upid

_MOVE = "move disk"
_SNAPSHOT = "delete snapshot"
_OUR_TASKS = frozenset({"qmmove", "qmdelsnapshot", "qmstart", "qmstop"})


@dataclass
class Swap:
    """What a swap did, or would do.

    Attributes:
        old_disk, new_disk: volume ids; None while unknown.
        snapshots_destroyed: names, in the order in which they were destroyed.
        predicted: the VM's configuration afterwards, where it was not written.
    """

    plan: Plan
    old_disk: str | None = None
    new_disk: str | None = None
    snapshots_destroyed: list[str] = field(default_factory=list)
    predicted: Config | None = None


def prepare(vm: Vm, wanted: Rebuild, *, checking: bool) -> Plan:
    """Clone the template to the scratch VM and grow its disk. Everything that forbids the swap is found here.

    Raises:
        UnsupportedTemplateError, SnapshotsExistError, VmProtectedError, DataValidationError: nothing was done.
        VmidTakenError: the scratch VMID belongs to another VM.
    """
    scratch = scratch_of(vm, wanted)
    config = vm.owned_config()
    if Progress.of(config).under_way:  # perhaps to this moment: a move that is lost to us still moves
        _settle(vm, scratch, wanted)
        config = vm.owned_config()
    if Progress.of(config).is_swapped(wanted.rebuild_id):
        return Plan()
    asked = clone_of(vm, wanted)
    found = clone.existing(scratch, asked)
    usable = found is not None and is_usable(found, config, wanted)
    if found is not None and usable and not disk_sizes(found):
        return Plan()  # its disk is in the server's VM by now
    template = clone.predicted(scratch, asked)
    whole = swap.undone(config, vm.uuid)
    _check(vm, whole, template, wanted)
    plan = Plan() if usable else creation(wanted)
    settings = scratch_settings(found if found is not None and usable else template, scratch, wanted)
    plan.changes.extend(Change(f"scratch.{c.key}", c.before, c.after) for c in settings.changes)
    if checking:
        return plan
    if _is_anothers(Progress.of(config), wanted):
        take_back(vm, wanted)
        discard(vm, wanted)
    if not usable:
        if found is not None:
            destroy_scratch(scratch, wanted)
        clone.create(scratch, asked)
    made = scratch.owned_config()
    scratch.write(scratch_settings(made, scratch, wanted), made, wanted.timeout_seconds)
    return plan


def swap_disks(vm: Vm, wanted: Rebuild, *, checking: bool) -> Swap:
    """Stop the VM and put the scratch VM's disk in the place of its system disk.

    When Proxmox VE refuses a step, the old disk is put back and the VM started again, if it ran. When it
    does not answer, nothing more is done: the next attempt goes on from there.
    """
    scratch, asked = scratch_of(vm, wanted), clone_of(vm, wanted)
    was_stopped = _settle(vm, scratch, wanted)
    config = vm.owned_config()
    progress = Progress.of(config)
    if progress.is_swapped(wanted.rebuild_id):
        volumes = progress.left_over_volumes
        return Swap(Plan(), volumes[-1] if volumes else None, _volume(config, system_disk(config)))
    source = clone.existing(scratch, asked)
    if source is None or not is_usable(source, config, wanted) or _is_anothers(progress, wanted):
        if not checking:
            raise RebuildIncompleteError(
                f"VM {scratch.vmid} holds no new disk for this rebuild.",
                hint="Run the phase `prepare` first; the whole playbook does.",
            )
        source = clone.predicted(scratch, asked)
        source = scratch_settings(source, scratch, wanted).applied_to(source)
        config = swap.undone(config, vm.uuid)
    moved = not disk_sizes(source)
    names: list[str] = []
    if not moved:
        destroy.check_unlocked(vm, config)
        names = _check(vm, swap.undone(config, vm.uuid), source, wanted)
    status = str(vm.status()["status"])
    outcome = _outcome(config, source, wanted, vm.uuid, status, names)
    if not checking:
        ran = status == "running" or was_stopped
        _swap(vm, scratch, wanted, outcome, running=ran, names=names)
    return outcome


def clean(vm: Vm, wanted: Rebuild, config: Config | None) -> tuple[Plan, list[str]]:
    """Remove the old disk and the scratch VM, once the server runs from its new disk.

    Args:
        config: in check mode, the configuration as it would be; None: do it.

    Returns:
        The plan and the volumes that were, or would be, removed.

    Raises:
        RebuildIncompleteError: this rebuild has not swapped the disks; nothing was removed.
    """
    checking, config = config is not None, config or vm.owned_config()
    if not Progress.of(config).is_swapped(wanted.rebuild_id):
        raise RebuildIncompleteError(
            f"VM {vm.vmid} does not run from the disk of the rebuild {wanted.rebuild_id}; nothing was removed.",
            hint="Run the whole playbook.",
        )
    plan = swap.clean(config, vm.uuid)
    removed = [str(change.before) for change in plan.changes]
    scratch = scratch_of(vm, wanted)
    if checking:
        would_exist = Progress.of(vm.config() or {}) != Progress.of(config)
        if would_exist or left_over(scratch, wanted):
            plan.changes.append(Change("scratch_vmid", scratch.vmid, None))
        return plan, removed
    with _explained(f"The server has its new disk; the old one was not removed: {', '.join(removed)}."):
        vm.write(plan, config, wanted.timeout_seconds)
    left = left_over(scratch, wanted)
    if left:
        plan.changes.append(Change("scratch_vmid", scratch.vmid, None))
        destroy.destroy(scratch, left, wanted.timeout_seconds, operation=destroy.SCRATCH_OPERATION)
    return plan, removed


def abandon(vm: Vm, wanted: Rebuild, *, keep: bool, checking: bool) -> tuple[Plan, bool]:
    """Give a rebuild up while the VM still has its old disk; the scratch VM goes, unless it shall be kept.

    Returns:
        The plan, and whether the rebuild was, or would be, given up: once the disks are being swapped, it is too late.
    """
    scratch = scratch_of(vm, wanted)
    _settle(vm, scratch, wanted)
    progress = Progress.of(vm.owned_config())
    if progress.is_swapped(wanted.rebuild_id) or progress.swapping == wanted.rebuild_id:
        return Plan(), False
    left = None if keep else left_over(scratch, wanted)
    if left is None:
        return Plan(), True
    if not checking:
        destroy.destroy(scratch, left, wanted.timeout_seconds, operation=destroy.SCRATCH_OPERATION)
    return Plan(changes=[Change("scratch_vmid", scratch.vmid, None)]), True


def _is_anothers(progress: Progress, wanted: Rebuild) -> bool:
    """Whether the swap under way is another rebuild's, whose disk this one does not want."""
    return bool(progress.under_way) and progress.swapping != wanted.rebuild_id


def _check(vm: Vm, config: Config, source: Config, wanted: Rebuild) -> list[str]:
    """Everything that forbids a swap. Returns the snapshots that it destroys, the newest first."""
    destroy.check_unprotected(vm, config)
    swap.check_fit(config, source, wanted.template_vmid)
    swap.check_room(config, vm.uuid, source, wanted.rebuild_id)
    names = [snapshot.name for snapshot in list_snapshots(vm.client, vm.node, vm.vmid)][::-1]
    if names and not wanted.destroy_snapshots:
        raise SnapshotsExistError(
            f"VM {vm.vmid} has snapshots, which hold the disk that a rebuild replaces: {', '.join(names)}.",
            hint="Delete them, or let the rebuild destroy them.",
        )
    return names


def _settle(vm: Vm, scratch: Vm, wanted: Rebuild) -> bool:
    """Wait for tasks that an earlier attempt left behind, also for those that it had no time to note.

    Returns:
        Whether the last thing that an earlier attempt did to the VM's power was to stop it.
    """
    powered = vm.client.settle(power.OPERATION, wanted.timeout_seconds)
    for operation in (_SNAPSHOT, _MOVE):
        vm.client.settle(operation, wanted.timeout_seconds)
    settle.wait_for_active(vm, {vm.vmid, scratch.vmid}, _OUR_TASKS, wanted.timeout_seconds)
    if powered is None:
        return False
    last = Upid.parse(powered)
    return (last.type, last.id) == ("qmstop", str(vm.vmid))


def _outcome(
    config: Config, source: Config, wanted: Rebuild, uuid: str, status: str, names: list[str]
) -> Swap:
    """What a swap will have done; the diff names no volume that Proxmox VE has yet to name."""
    progress = Progress.of(config)
    predicted = swap.after(config, uuid, source, wanted.rebuild_id)
    under_way = progress.under_way or dict(swap.replaced(config, system_disk(source)))
    old, new = swap.old_device(under_way), swap.new_device(under_way)
    outcome = Swap(Plan(), old_disk=under_way[old].partition(",")[0], predicted=predicted)
    plan = outcome.plan
    if names:
        plan.changes.append(Change("snapshots", names, []))
    if status == "running":
        plan.changes.append(Change("status", "running", "stopped"))
    plan.changes.append(
        Change("system_disk", outcome.old_disk, f"{new}, cloned from VM {wanted.template_vmid}")
    )
    before = under_way.get("boot")
    if before != predicted["boot"]:
        plan.changes.append(Change("boot", before, predicted["boot"]))
    plan.changes.extend(swap.taken_over(config, source).changes)
    return outcome


def _swap(vm: Vm, scratch: Vm, wanted: Rebuild, outcome: Swap, *, running: bool, names: list[str]) -> None:
    """Do it, or put everything back that can be put back.

    Args:
        running: whether the VM ran before it was stopped for this.
    """
    try:
        if running:
            power.reach(vm, power.Power.STOPPED, wanted.timeout_seconds)
        for name in names:
            vm.client.run(
                _SNAPSHOT, "DELETE", vm.path("snapshot", name), timeout_seconds=wanted.timeout_seconds
            )
            outcome.snapshots_destroyed.append(name)
        config = vm.owned_config()
        if not Progress.of(config).under_way:
            source = scratch.owned_config()
            plan = swap.detach(config, vm.uuid, system_disk(source), wanted.rebuild_id, running=running)
            vm.write(plan, config, wanted.timeout_seconds)
            config = vm.owned_config()
        source = scratch.owned_config()
        if disk_sizes(source):
            _move(vm, scratch, wanted, config, source)
        _attach(vm, wanted, source, outcome)
    except (ProxmoxUnavailableError, ProxmoxTimeoutError) as error:
        explain(error, "How far the swap came is not known. The old disk still exists.")
        error.hint = f"{error.hint or ''} {REPEAT}".strip()
        raise  # only the next attempt can look
    except ProxmoxRequestError as error:
        back_out(vm, wanted, error, running=running, destroyed=outcome.snapshots_destroyed)
        raise


def _move(vm: Vm, scratch: Vm, wanted: Rebuild, config: Config, source: Config) -> None:
    """Hand the scratch VM's disk over. Both digests: Proxmox VE refuses if either VM has changed."""
    device = swap.new_device(Progress.of(config).under_way)
    vm.client.run(
        _MOVE,
        "POST",
        scratch.path("move_disk"),
        timeout_seconds=wanted.timeout_seconds,
        disk=device,
        digest=source["digest"],
        **{"target-vmid": vm.vmid, "target-disk": device, "target-digest": config["digest"]},
    )


def _attach(vm: Vm, wanted: Rebuild, source: Config, outcome: Swap) -> None:
    """Boot from the new disk, and note that the swap is done."""
    config = vm.owned_config()
    device = swap.new_device(Progress.of(config).under_way)
    if device not in config:
        raise ProxmoxRequestError(f"VM {vm.vmid} did not get the new disk {device}.")
    plan = swap.attached(config, vm.uuid, source, wanted.rebuild_id)
    vm.write(plan, config, wanted.timeout_seconds)
    outcome.new_disk = _volume(config, device)


@contextmanager
def _explained(text: str) -> Iterator[None]:
    """Add to an error what it means for the server."""
    try:
        yield
    except ProxmoxRequestError as error:
        explain(error, text)
        raise


def _volume(config: Mapping[str, Any], device: str) -> str:
    return str(config[device]).partition(",")[0]
