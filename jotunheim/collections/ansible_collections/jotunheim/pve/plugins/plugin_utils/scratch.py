"""A wanted rebuild, and the scratch VM in which its disk is made.

The scratch VM has a VMID and a UUID of its own, so that it is never taken for the server's VM.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.jotunheim.pve.plugins.plugin_utils import clone, destroy
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import Disk, disk, disk_sizes
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import General, general
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import identity, scratch_uuid
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.progress import Progress, rebuild_line
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import VmMovedError, VmNotOursError

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True)
class Rebuild:
    """A wanted rebuild; see plugins/modules/vm_rebuild.py for the meaning of each field."""

    template_vmid: int
    scratch_vmid: int
    rebuild_id: str
    full: bool = False
    storage: str | None = None
    disk_bytes: int | None = None
    destroy_snapshots: bool = False
    timeout_seconds: int = 1800

    def check(self, vm: Vm) -> None:
        """Raise DataValidationError for values that no rebuild can have."""
        problems = []
        if not _ID.fullmatch(self.rebuild_id):
            problems.append(
                FieldProblem("rebuild_id", "must be 1 to 64 letters, digits, '.', '_', ':' or '-'")
            )
        if self.scratch_vmid in {vm.vmid, self.template_vmid}:
            problems.append(FieldProblem("scratch_vmid", "must be a VMID of its own"))
        if problems:
            raise DataValidationError(problems)


def scratch_of(vm: Vm, wanted: Rebuild) -> Vm:
    return vm.beside(wanted.scratch_vmid, scratch_uuid(vm.uuid))


def clone_of(vm: Vm, wanted: Rebuild) -> clone.Clone:
    return clone.Clone(
        wanted.template_vmid,
        f"rebuild-of-{vm.vmid}",
        full=wanted.full,
        storage=wanted.storage,
        timeout_seconds=wanted.timeout_seconds,
        service=(rebuild_line(wanted.rebuild_id),),
    )


def is_usable(found: Config, config: Config, wanted: Rebuild) -> bool:
    """Whether a scratch VM is this rebuild's and has its disk, or gave it to the server's VM."""
    if Progress.of(found).rebuild_id != wanted.rebuild_id:
        return False
    return bool(disk_sizes(found)) or Progress.of(config).swapping == wanted.rebuild_id


def creation(wanted: Rebuild) -> Plan:
    return Plan(
        changes=[
            Change("scratch_vmid", None, wanted.scratch_vmid),
            Change("scratch.cloned_from", None, wanted.template_vmid),
            Change("scratch.full", None, wanted.full),
        ]
    )


def scratch_settings(config: Config, scratch: Vm, wanted: Rebuild) -> Plan:
    """The plan that gives the scratch VM its mark and size, and takes from it what only servers need."""
    plan = identity(config, scratch.uuid, None)
    plan += general(config, General(onboot=False))
    plan.remove("protection", config.get("protection"))
    if wanted.disk_bytes is not None:
        plan += disk(config, Disk(wanted.disk_bytes))
    return plan


def left_over(scratch: Vm, wanted: Rebuild) -> destroy.Found | None:
    """The scratch VM; None: there is none (any more)."""
    try:
        return destroy.find(scratch, wanted.timeout_seconds, destroy.SCRATCH_OPERATION)
    except (VmNotOursError, VmMovedError):
        return None  # the VMID is another VM's by now


def destroy_scratch(scratch: Vm, wanted: Rebuild) -> None:
    left = left_over(scratch, wanted)
    if left:
        destroy.destroy(scratch, left, wanted.timeout_seconds, operation=destroy.SCRATCH_OPERATION)
