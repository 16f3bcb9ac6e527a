"""Action plugin: the firewall of a VM."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import firewall, options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.firewall import Found, Wanted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_firewall.py for the documentation."""

    ARGUMENTS = options.FIREWALL

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read what is wanted of the firewall, and write what differs."""
        wanted = options.firewall_of(args)
        if wanted.is_nothing:
            return self.outcome(Plan())
        if self.checking and not self.vm_exists():
            return self.outcome(firewall.plan(self._of_a_clone(vm, wanted), wanted))
        if not self.proven():
            vm.owned_config()
        new = self.vm_is_new()
        found = firewall.read(vm, wanted, new=new)
        needed = firewall.plan(found, wanted)
        if needed and not self.checking:
            firewall.apply(vm, found, wanted, needed, new=new)
        return self.outcome(needed)

    def _of_a_clone(self, vm: Vm, wanted: Wanted) -> Found:
        """What a clone would have that is still to be made: Proxmox VE gives it the template's firewall."""
        template = self.cloned_from()
        return Found() if template is None else firewall.read(vm.beside(template, vm.uuid), wanted, new=True)
