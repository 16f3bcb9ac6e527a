"""Action plugin: no VM any more."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import backups, destroy
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import scratch_uuid
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import VmMovedError, VmNotOursError


class ActionModule(PveAction):
    """See plugins/modules/vm_delete.py for the documentation."""

    ARGUMENTS = {
        "purge": {"type": "bool", "default": True},
        "backups": {"type": "bool", "default": False},
        "kept_backups": {"type": "list", "elements": "str", "default": []},
        "backup_storage": {"type": "str"},
        "scratch_vmid": {"type": "int"},
        "is_unmarked": {"type": "bool", "default": False},
        "timeout_seconds": {"type": "int", "default": 300},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Look at everything that shall go, then destroy it: the VM, the rest of a rebuild, the backups."""
        timeout = args["timeout_seconds"]
        vm.may_be_unmarked = args["is_unmarked"]
        found = destroy.find(vm, timeout)
        scratch = left = None
        if args["scratch_vmid"] not in (None, vm.vmid):
            scratch = vm.beside(args["scratch_vmid"], scratch_uuid(vm.uuid))
            left = _left_over(scratch, timeout)
        archives = backups.Backups([], [], [])
        if args["backups"]:
            archives = backups.find(vm, args["backup_storage"], args["kept_backups"])
        plan = Plan()
        if found is not None:
            plan.changes.append(Change("exists", True, False))
        if scratch is not None and left is not None:
            plan.changes.append(Change("scratch_vmid", scratch.vmid, None))
        if archives.ours:
            plan.changes.append(Change("backups", archives.ours, []))
        if not self.checking:
            if found is not None:
                destroy.destroy(vm, found, timeout, purge=args["purge"])
            if scratch is not None and left is not None:
                destroy.destroy(scratch, left, timeout, operation=destroy.SCRATCH_OPERATION)
            vm.client.note(backups.REMOVED, archives.ours)
            for volid in archives.ours:
                backups.remove(vm, volid, timeout)
        return self.outcome(
            plan,
            deleted=not self.checking,
            backups_deleted=sorted({*archives.ours, *_removed_earlier(vm)}),
            backups_kept=archives.others,
            backup_storages=archives.storages,
        )


def _removed_earlier(vm: Vm) -> set[str]:
    """The backups that earlier attempts of this job were about to remove: whatever is left of them is found again."""
    return {volid for _, volids in vm.client.noted(backups.REMOVED) for volid in volids}


def _left_over(scratch: Vm, timeout_seconds: float) -> destroy.Found | None:
    """The scratch VM of a rebuild; None: there is none, its VMID may be another VM's by now."""
    try:
        return destroy.find(scratch, timeout_seconds, destroy.SCRATCH_OPERATION)
    except (VmNotOursError, VmMovedError):
        return None
