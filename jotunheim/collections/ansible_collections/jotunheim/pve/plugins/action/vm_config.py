"""Action plugin: everything about a VM's configuration in one read and one write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.configuring import ConfiguringAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import boot_order, general
from ansible_collections.jotunheim.pve.plugins.plugin_utils.iso import iso
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import network
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan

from jotunheim.exceptions.model import DataValidationError, FieldProblem


class ActionModule(ConfiguringAction):
    """See plugins/modules/vm_config.py for the documentation."""

    ARGUMENTS = options.CONFIG

    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """All sections that are given. What is wrong in several of them is said at once."""
        plan = Plan()
        problems: list[FieldProblem] = []
        for section in self._sections(config, args, plan):
            try:
                plan += section()
            except DataValidationError as error:
                problems += error.problems
        if problems:
            raise DataValidationError(problems)
        return plan

    def _sections(
        self, config: Mapping[str, Any], args: dict[str, Any], plan: Plan
    ) -> Iterator[Callable[[], Plan]]:
        yield lambda: general(config, options.general_of(args))
        for device in args["networks"] or ():
            yield partial(network, config, options.network_of(device))
        if args["cloudinit"] is not None:
            wanted = options.cloudinit_of(args["cloudinit"], self.password())
            yield lambda: cloudinit(config, wanted, self.target.uuid)
        if args["disk"] is not None:
            yield lambda: disk(config, options.disk_of(args["disk"]))
        if args["boot_order"] is not None:
            # With the devices that this request adds; the other sections stand in the plan by now.
            yield lambda: boot_order(plan.applied_to(config), args["boot_order"])
        if args["iso"] is not None:
            # Behind what the others plan: it takes a place that is still free, and the end of the new boot order.
            yield lambda: iso(plan.applied_to(config), args["iso"])
