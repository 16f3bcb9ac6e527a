"""Action plugin: a backup of a VM."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import archive
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.archive import Archive, State, Wanted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_backup.py for the documentation."""

    ARGUMENTS = {
        "state": {"type": "str", "required": True, "choices": [state.value for state in State]},
        "id": {"type": "str", "required": True},
        "storage": {"type": "str", "required": True},
        "volume": {"type": "str"},
        "vmid": {"type": "int"},
        "mode": {"type": "str", "default": "snapshot", "choices": ["snapshot", "suspend", "stop"]},
        "compress": {"type": "str", "default": "zstd", "choices": ["zstd", "gzip", "lzo", "0"]},
        "notes": {"type": "str", "default": ""},
        "timeout_seconds": {"type": "int", "default": 21_600},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Finish what an earlier attempt began, look, and do what is left."""
        state = State(args["state"])
        wanted = Wanted(
            **{
                name: value
                for name, value in args.items()
                if name in self.ARGUMENTS and name not in ("state", "vmid")
            },
            vmid=args["vmid"] or vm.vmid,
        )
        if state is State.PRESENT:
            vm.owned_config()
        if not self.checking:
            self._await(vm, state, wanted)
        found = archive.find(vm, wanted)
        plan = archive.plan(found, state, wanted)
        if not self.checking:
            found = _perform(vm, found, state, wanted, changes=bool(plan))
        return self.outcome(plan, backup=found.shown() if found else None)

    @staticmethod
    def _await(vm: Vm, state: State, wanted: Wanted) -> None:
        if state is State.PRESENT:
            archive.awaited(vm, wanted)
        elif state is State.ABSENT:
            vm.client.settle(archive.REMOVE, wanted.timeout_seconds)


def _perform(vm: Vm, found: Archive | None, state: State, wanted: Wanted, *, changes: bool) -> Archive | None:
    """Carry it out; gives the backup as it is then."""
    match state:
        case State.PRESENT:
            made = archive.make(vm, wanted) if found is None else found
            archive.annotate(vm, made, wanted)
            return made
        case State.ABSENT if found is not None:
            archive.remove(vm, found, wanted)
            return None
        case State.LOCKED | State.UNLOCKED if changes and found is not None:
            archive.set_lock(vm, found, locked=state is State.LOCKED)
            return archive.find(vm, wanted)
        case _:
            return found
