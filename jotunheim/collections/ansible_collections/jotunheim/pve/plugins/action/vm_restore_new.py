"""Action plugin: a new VM made from another one's backup, exactly once."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import restore_new
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.restore_new import NewRestore
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_restore_new.py for the documentation."""

    ARGUMENTS = {
        "volume": {"type": "str", "required": True},
        "original_uuid": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "storage": {"type": "str"},
        "timeout_seconds": {"type": "int", "default": 21_600},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Find our VM, or the restore that an earlier attempt started, or restore."""
        wanted = NewRestore(**{name: args[name] for name in self.ARGUMENTS})
        earlier = restore_new.settled(vm, wanted)
        plan = Plan()
        if not earlier.is_done:
            found = restore_new.archived(vm, wanted)
            plan = restore_new.plan(wanted)
            if self.checking:
                after = restore_new.predicted(vm, found, wanted)
                told = self.tell_predicted(after, exists=False, guest_changes=[], status="stopped")
                return self.outcome(plan, **told)
            restore_new.perform(vm, found, earlier, wanted)
        if not self.checking:
            restore_new.part(vm, wanted.timeout_seconds)
        return self.outcome(plan, **self.tell_proven(guest_changes=[]))
