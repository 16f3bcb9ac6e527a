"""Action plugin: everything about a VM's configuration in one read and one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.configuring import ConfiguringAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.sections import sections

from jotunheim.exceptions.model import DataValidationError, FieldProblem


class ActionModule(ConfiguringAction):
    """See plugins/modules/vm_config.py for the documentation."""

    ARGUMENTS = options.CONFIG

    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """All sections that are given. What is wrong in several of them is said at once."""
        plan = Plan()
        problems: list[FieldProblem] = []
        for section in sections(config, args, plan, uuid=self.target.uuid, password=self.password()):
            try:
                plan += section()
            except DataValidationError as error:
                problems += error.problems
        if problems:
            raise DataValidationError(problems)
        return plan
