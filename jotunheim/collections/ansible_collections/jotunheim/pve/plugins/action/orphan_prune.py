"""Action plugin: something that carries our mark, and is in no record, is no more."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import orphan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.orphan import Wanted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem


class ActionModule(PveAction):
    """See plugins/modules/orphan_prune.py for the documentation."""

    ARGUMENTS = {
        "kind": {"type": "str", "required": True, "choices": list(orphan.KINDS)},
        "storage": {"type": "str"},
        "volume": {"type": "str"},
        "despite": {
            "type": "list",
            "elements": "str",
            "default": [],
            "choices": ["unknown", "copied", "running", "unmarked"],
        },
        "timeout_seconds": {"type": "int", "default": 300},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Look whether it is there and is what was found, then remove it."""
        missing = [name for name in ("storage", "volume") if args["kind"] != "vm" and not args[name]]
        if missing:
            raise DataValidationError([FieldProblem(name, "is needed for this kind") for name in missing])
        wanted = Wanted(
            storage=args["storage"] or "",
            volume=args["volume"] or "",
            despite=frozenset(args["despite"]),
            timeout_seconds=args["timeout_seconds"],
        )
        kind = orphan.KINDS[args["kind"]]
        found = kind.find(vm, wanted)
        plan = Plan(changes=[] if found is None else [Change(args["kind"], args["volume"] or vm.vmid, None)])
        if found is not None and not self.checking:
            kind.remove(vm, found, wanted)
        return self.outcome(plan, gone=found is None or not self.checking)
