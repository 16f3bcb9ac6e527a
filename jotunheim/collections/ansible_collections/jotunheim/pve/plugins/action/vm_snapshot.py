"""Action plugin: a snapshot of a VM."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import snapshot
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.snapshot import Found, Snapshot, State
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_snapshot.py for the documentation."""

    ARGUMENTS = {
        "state": {"type": "str", "required": True, "choices": [state.value for state in State]},
        "name": {"type": "str", "required": True},
        "description": {"type": "str"},
        "with_memory": {"type": "bool", "default": False},
        "limit": {"type": "int"},
        "start": {"type": "bool", "default": False},
        "timeout_seconds": {"type": "int", "default": 1800},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Finish what an earlier attempt began, look, and do what is left."""
        state = State(args["state"])
        wanted = Snapshot(**{name: args[name] for name in self.ARGUMENTS if name != "state"})
        snapshot.check_name(wanted.name)
        operation = snapshot.OPERATIONS[state]
        done = not self.checking and vm.client.finished(operation, wanted.timeout_seconds)
        config = vm.owned_config()
        if done and state is State.ROLLED_BACK:
            snapshot.start(vm, wanted)
            return self.outcome(Plan(changes=[Change("rolled_back_to", None, wanted.name)]))
        found = snapshot.read(vm, config)
        plan = snapshot.plan(found, state, wanted)
        if plan or found.is_broken(wanted.name):
            snapshot.check_usable(vm, found, state, wanted.name)
        if self.checking:
            return self.outcome(plan, **self._predicted(vm, config, found, state, wanted))
        if plan:
            snapshot.perform(vm, found, state, wanted)
        if state is State.ROLLED_BACK:
            snapshot.start(vm, wanted)
            return self.outcome(plan, **self.tell_proven(guest_changes=[]))
        return self.outcome(plan, **self.tell_proven())

    def _predicted(
        self, vm: Vm, config: Config, found: Found, state: State, wanted: Snapshot
    ) -> dict[str, Any]:
        """What later tasks of the play find: a rollback brings back a configuration, and a status."""
        if state is not State.ROLLED_BACK:
            return {}
        after = snapshot.predicted(vm, config, wanted.name)
        status = snapshot.status_after(found, wanted)
        return self.tell_predicted(after, exists=True, guest_changes=[], status=status)
