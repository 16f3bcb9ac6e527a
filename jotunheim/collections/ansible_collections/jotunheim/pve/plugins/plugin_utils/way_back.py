"""The way back from a swap that cannot go on: the old disk in its place, and the truth about the new one."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.jotunheim.pve.plugins.plugin_utils import power, swap
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_ours
from ansible_collections.jotunheim.pve.plugins.plugin_utils.progress import Progress
from ansible_collections.jotunheim.pve.plugins.plugin_utils.scratch import Rebuild, scratch_of
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxRequestError

REPEAT = "Then repeat the rebuild: it goes on from where it stopped."


def back_out(
    vm: Vm, wanted: Rebuild, error: ProxmoxRequestError, *, running: bool, destroyed: list[str]
) -> None:
    """Put the old disk back and start the VM if it ran; adds to the error what that came to."""
    try:
        back = take_back(vm, wanted)
        said = "The old disk is in place."
        if running or back.started:
            power.reach(vm, power.Power.STARTED, wanted.timeout_seconds)
            said = "The old disk is in place, and the server was started again."
    except ProxmoxRequestError as second:
        said = f"The way back failed, too: {second.message.rstrip()} The old disk still exists."
        error.hint = f"{error.hint or ''} {REPEAT}".strip()
    else:
        said += _what_became_of(vm, wanted, back)
    if destroyed:
        said += f" Snapshots that are gone: {', '.join(destroyed)}."
    explain(error, said)


class Back(NamedTuple):
    """What a way back came to.

    Attributes:
        started: the VM ran before the swap, and was started again.
        discarded: the new disk's volume, which was the VM's for a moment.
        lost: the scratch VM gave the new disk away, and the VM has none.
    """

    started: bool = False
    discarded: str | None = None
    lost: bool = False


def take_back(vm: Vm, wanted: Rebuild) -> Back:
    """Put the old disk back with its options and its place in the boot order, if a swap is under way."""
    config = vm.owned_config()
    progress = Progress.of(config)
    if not progress.under_way:
        return Back()
    # Only what the scratch VM of this swap has given away can be the new disk. Anything else is someone's.
    given = _has_given(scratch_of(vm, wanted), progress)
    new = swap.handed_over(config)
    discarded = new if given else None
    power.reach(vm, power.Power.STOPPED, wanted.timeout_seconds)  # nobody is served by a VM without its disk
    vm.write(swap.undo(config, vm.uuid, discarded), config, wanted.timeout_seconds)
    if progress.ran:
        power.reach(vm, power.Power.STARTED, wanted.timeout_seconds)
    return Back(progress.ran, discarded, lost=given and new is None)


def _has_given(scratch: Vm, progress: Progress) -> bool:
    """Whether the scratch VM made the disk for the swap under way, and has it no more."""
    source = scratch.config()
    if source is None or not is_ours(source, scratch.uuid) or disk_sizes(source):
        return False
    return progress.swapping is not None and Progress.of(source).rebuild_id == progress.swapping


def discard(vm: Vm, wanted: Rebuild) -> None:
    """Remove new disks that were taken off again."""
    config = vm.owned_config()
    vm.write(swap.discard(config, vm.uuid), config, wanted.timeout_seconds)


def _what_became_of(vm: Vm, wanted: Rebuild, back: Back) -> str:
    """Remove the new disk after a way back. Returns what a person has to know about it, or ""."""
    if back.lost:
        return (
            f" VM {wanted.scratch_vmid} gave its new disk away, and VM {vm.vmid} did not get it: "
            f"`qm disk rescan --vmid {vm.vmid}` shows it as an unused disk."
        )
    if back.discarded is None:
        return ""
    try:
        discard(vm, wanted)
    except ProxmoxRequestError as error:
        return f" The new disk {back.discarded} is still there, unused; the next rebuild removes it: {error.message}"
    return ""


def explain(error: ProxmoxRequestError, text: str) -> None:
    error.message = f"{error.message.rstrip()} {text}"
    error.args = (error.message,)
