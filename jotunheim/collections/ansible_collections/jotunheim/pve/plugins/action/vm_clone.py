"""Action plugin: a VM made from a template, exactly once."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import clone
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_clone.py for the documentation."""

    ARGUMENTS = {
        "template_vmid": {"type": "int", "required": True},
        "name": {"type": "str", "required": True},
        "full": {"type": "bool", "default": False},
        "storage": {"type": "str"},
        "pool": {"type": "str"},
        "timeout_seconds": {"type": "int", "default": 1800},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Find our VM, or the clone that an earlier attempt started, or clone."""
        wanted = clone.Clone(**{name: args[name] for name in self.ARGUMENTS})
        if clone.existing(vm, wanted) is not None:
            return self.outcome(Plan(), **self.tell_proven())
        plan = Plan(
            changes=[
                Change("exists", False, True),
                Change("name", None, wanted.name),
                Change("cloned_from", None, wanted.template_vmid),
                Change("full", None, wanted.full),
            ]
        )
        if self.checking:
            told = self.tell_predicted(
                clone.predicted(vm, wanted), exists=False, cloned_from=wanted.template_vmid
            )
            return self.outcome(plan, **told)
        clone.create(vm, wanted)
        return self.outcome(plan, **self.tell_new())
