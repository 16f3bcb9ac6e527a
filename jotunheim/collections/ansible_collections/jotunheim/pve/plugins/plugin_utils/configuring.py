"""The one way in which the configuring plugins work: read once, plan, write once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import identity
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

PASSWORD_VARIABLE = "pve_cloudinit_password"  # noqa: S105  # a variable's name


class ConfiguringAction(PveAction):
    """Base of vm_config, vm_cloudinit, vm_network and vm_disk, which differ in their sections only."""

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read the configuration, plan the mark and the sections, and write what differs."""
        predicted = self.predicted_config()
        config = predicted or vm.owned_config()
        plan = identity(config, vm.uuid, args.get("description"))
        plan += self.sections(config, args)
        if self.checking:
            return self.outcome(plan, **self.tell_predicted(plan.applied_to(config), exists=self.vm_exists()))
        vm.write(plan, config, args["timeout_seconds"])
        return self.outcome(plan, **self.tell_proven())

    @abstractmethod
    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """The plan of this plugin's sections."""

    def password(self) -> str | None:
        """The cloud-init password; from a variable, because arguments are printed."""
        value = self.variable(PASSWORD_VARIABLE)
        return None if value in (None, "") else str(value)
