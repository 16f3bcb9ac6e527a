"""The one way in which the configuring plugins work: read once, plan, write once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import network, waiting
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import identity
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ConfiguringAction(PveAction):
    """Base of vm_config, vm_cloudinit, vm_network and vm_disk, which differ in their sections only."""

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read the configuration, plan the mark and the sections, and write what differs."""
        config = self.predicted_config() or vm.owned_config()
        plan = identity(config, vm.uuid, args.get("description"))
        plan += self.sections(config, args)
        network.check_bridges(vm, config, plan)
        unseen = self.guest_changes() + waiting.for_guest(config, plan)
        if self.checking:
            predicted = plan.applied_to(config)
            return self.outcome(
                plan, **self.tell_predicted(predicted, exists=self.vm_exists(), guest_changes=unseen)
            )
        if unseen:
            vm.client.note(waiting.CHANGED_FOR_GUEST, unseen)
        vm.write(plan, config, args["timeout_seconds"])
        return self.outcome(plan, **self.tell_proven(guest_changes=unseen))

    @abstractmethod
    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """The plan of this plugin's sections."""
