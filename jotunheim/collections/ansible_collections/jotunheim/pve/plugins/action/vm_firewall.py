"""Action plugin: the firewall of a VM."""

from __future__ import annotations

from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import firewall, rules
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.firewall import POLICIES, Found, Wanted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/vm_firewall.py for the documentation."""

    ARGUMENTS = {
        "enabled": {"type": "bool"},
        "mac_filter": {"type": "bool"},
        "ip_filter": {"type": "bool"},
        "addresses": {"type": "list", "elements": "str"},
        "policy_in": {"type": "str"},
        "policy_out": {"type": "str"},
        "rules": {
            "type": "list",
            "elements": "dict",
            "options": {
                "direction": {"type": "str", "required": True, "choices": ["in", "out"]},
                "action": {"type": "str", "required": True, "choices": list(POLICIES)},
                "macro": {"type": "str"},
                "protocol": {"type": "str"},
                "source": {"type": "str"},
                "destination": {"type": "str"},
                "source_port": {"type": "str"},
                "destination_port": {"type": "str"},
                "comment": {"type": "str"},
                "enabled": {"type": "bool", "default": True},
            },
        },
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read what is wanted of the firewall, and write what differs."""
        wanted = _wanted(args)
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


def _wanted(args: dict[str, Any]) -> Wanted:
    given = {name: args[name] for name in ("enabled", "mac_filter", "ip_filter")}
    given |= {name: firewall.policy_of(name, args[name]) for name in ("policy_in", "policy_out")}
    listed = args["rules"]
    return Wanted(
        addresses=firewall.addresses_of(args["addresses"]),
        rules=None if listed is None else tuple(rules.wanted_rule(rule) for rule in listed),
        **given,
    )
