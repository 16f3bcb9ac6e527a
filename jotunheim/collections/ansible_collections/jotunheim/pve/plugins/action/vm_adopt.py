"""Action plugin: the mark on a VM that somebody else has made, and nothing but the mark."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import adoption
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxVmNotFoundError


class ActionModule(PveAction):
    """See plugins/modules/vm_adopt.py for the documentation."""

    ARGUMENTS = {
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "smbios_uuid": {"type": "str", "default": ""},
        "replaces": {"type": "str", "default": ""},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read the configuration, make sure that it is the VM that was meant, and write the mark if it lacks."""
        config = vm.config()
        if args["state"] == "absent":
            plan = adoption.released(config or {}, vm.uuid, args["replaces"])
        elif config is None:
            raise ProxmoxVmNotFoundError(
                f"There is no VM {vm.vmid} on node {vm.node} any more.",
                hint="List what there is, and import that.",
            )
        else:
            adoption.assert_meant(vm, config, args["smbios_uuid"], args["replaces"])
            plan = adoption.adopted(config, vm.uuid)
        if not self.checking:
            vm.write(plan, config or {}, timeout_seconds=0)
        return self.outcome(plan)
