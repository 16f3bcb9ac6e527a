"""Action plugin: what differs between a VM and what is wanted of it. Reads only, whatever the mode."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.jotunheim.pve.plugins.plugin_utils import drift, options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.options import Spec
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import (
    is_adopted,
    is_ours,
    marked_for,
    smbios_uuid,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.bounded import bounded
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.proxmox import configuration

if TYPE_CHECKING:
    from jotunheim.repositories.peewee.journal import Journal

_POWERS = ("running", "stopped")


class ActionModule(PveAction):
    """See plugins/modules/vm_drift.py for the documentation."""

    ARGUMENTS = {
        "power": {"type": "str"},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Read what is there, and compare it."""
        vm.client.before_change = _refuse
        wanted = self._wanted("pve_config_", options.CONFIG)
        filters = options.firewall_of(self._wanted("pve_firewall_", options.FIREWALL))
        if args["power"] not in (None, *_POWERS):
            raise DataValidationError([FieldProblem("power", f"must be one of {', '.join(_POWERS)}")])
        config = vm.config()
        if config is None:
            return self._report(Plan(), exists=False)
        plan = Plan()
        if not is_ours(config, vm.uuid):
            if config.get("lock") in {"clone", "create"}:
                vm.prove_ours(config)
            plan.set(drift.OWNER, smbios_uuid(config) or marked_for(config), vm.uuid)
            return self._report(plan, owned=False)
        plan += drift.of_config(config, wanted, vm.uuid)
        plan += drift.of_firewall(vm, filters)
        if args["power"] is not None:
            plan.set(drift.POWER, vm.status().get("status"), args["power"])
        return self._report(plan, config=config)

    def _report(
        self, plan: Plan, *, exists: bool = True, owned: bool = True, config: Config | None = None
    ) -> dict[str, Any]:
        if not exists:
            plan.set(drift.EXISTS, False, True)
        plan = drift.cut(plan)
        found = None if config is None else asdict(configuration.parse(config))
        differences = [
            {"setting": change.key, "found": change.before, "recorded": change.after}
            for change in plan.changes
        ]
        told = {
            "exists": exists,
            "owned": exists and owned,
            "identified": config is not None and is_adopted(config, self.target.uuid),
            "digest": None if config is None else config.get("digest"),
            "differences": differences,
            "settings": bounded(found, drift.SETTINGS_CHARACTERS),
        }
        return self.outcome(plan, drift=told)

    def _wanted(self, prefix: str, spec: Spec) -> dict[str, Any]:
        """What is wanted, checked as by the plugin that would write it. Arguments would be templates, which cost more than all the rest."""
        given = {name: self.variable(f"{prefix}{name}") for name in spec}
        checked = ArgumentSpecValidator(spec).validate({k: v for k, v in given.items() if v is not None})
        if checked.error_messages:
            raise DataValidationError([FieldProblem(f"{prefix}*", text) for text in checked.error_messages])
        parameters: dict[str, Any] = checked.validated_parameters
        return parameters

    def _journal(self) -> Journal | None:
        """None: nothing is changed, so nothing has to be remembered, and no lease to be asked for."""
        return None


def _refuse() -> NoReturn:
    raise AssertionError("A look for drift changes nothing.")
