"""Action plugin: a VM as one of its backups has it."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import restore
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.restore import Restore
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_restore.py for the documentation."""

    ARGUMENTS = {
        "id": {"type": "str", "required": True},
        "volume": {"type": "str", "required": True},
        "storage": {"type": "str"},
        "stop": {"type": "bool", "default": False},
        "destroy_snapshots": {"type": "bool", "default": False},
        "is_unmarked": {"type": "bool", "default": False},
        "timeout_seconds": {"type": "int", "default": 21_600},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Finish what an earlier attempt began, look, and do what is left."""
        vm.may_be_unmarked = args["is_unmarked"]
        wanted = Restore(**{name: args[name] for name in self.ARGUMENTS if name != "is_unmarked"})
        if self.checking:
            config = vm.config()
            if config is not None:
                vm.prove_ours(config)
        else:
            earlier = restore.settled(vm, wanted)
            if earlier.is_done:
                return self.outcome(Plan(), **self.tell_proven())
            config = earlier.config
        found = restore.look(vm, config, wanted)
        plan = restore.plan(vm, found, wanted)
        if self.checking:
            after = restore.predicted(vm, found, wanted)
            told = self.tell_predicted(after, exists=True, guest_changes=[], status="stopped")
            return self.outcome(plan, snapshots_destroyed=found.snapshots, **told)
        restore.perform(vm, found, wanted)
        vm.owned_config()
        return self.outcome(plan, snapshots_destroyed=found.snapshots, **self.tell_proven(guest_changes=[]))
