"""Action plugin: one phase of a rebuild."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import rebuild
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.scratch import Rebuild
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

_NOT_WANTED = frozenset({"phase", "keep_scratch"})


class ActionModule(PveAction):
    """See plugins/modules/vm_rebuild.py for the documentation."""

    ARGUMENTS = {
        "phase": {"type": "str", "required": True, "choices": ["prepare", "swap", "clean", "abandon"]},
        "template_vmid": {"type": "int", "required": True},
        "scratch_vmid": {"type": "int", "required": True},
        "rebuild_id": {"type": "str", "required": True},
        "full": {"type": "bool", "default": False},
        "storage": {"type": "str"},
        "disk_bytes": {"type": "int"},
        "destroy_snapshots": {"type": "bool", "default": False},
        "keep_scratch": {"type": "bool", "default": False},
        "timeout_seconds": {"type": "int", "default": 1800},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Do the phase, or what is left of it."""
        wanted = Rebuild(**{name: args[name] for name in self.ARGUMENTS if name not in _NOT_WANTED})
        wanted.check(vm)
        match args["phase"]:
            case "prepare":
                return self.outcome(rebuild.prepare(vm, wanted, checking=self.checking))
            case "swap":
                return self._swap(vm, wanted)
            case "abandon":
                plan, abandoned = rebuild.abandon(
                    vm, wanted, keep=args["keep_scratch"], checking=self.checking
                )
                return self.outcome(plan, abandoned=abandoned)
            case _:
                predicted = (self.predicted_config() or vm.owned_config()) if self.checking else None
                plan, removed = rebuild.clean(vm, wanted, predicted)
                return self.outcome(plan, removed=removed)

    def _swap(self, vm: Vm, wanted: Rebuild) -> dict[str, Any]:
        done = rebuild.swap_disks(vm, wanted, checking=self.checking)
        told = self.tell_proven()
        if self.checking and done.predicted is not None:
            # The VM would be stopped: a start would change it.
            told = self.tell_predicted(done.predicted, exists=True, status="stopped")
        return self.outcome(
            done.plan,
            old_disk=done.old_disk,
            new_disk=done.new_disk,
            snapshots_destroyed=done.snapshots_destroyed,
            **told,
        )
