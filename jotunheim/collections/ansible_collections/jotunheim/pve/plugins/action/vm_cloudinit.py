"""Action plugin: a VM's cloud-init settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.configuring import ConfiguringAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan


class ActionModule(ConfiguringAction):
    """See plugins/modules/vm_cloudinit.py for the documentation."""

    ARGUMENTS = options.CLOUDINIT | options.TIMEOUT

    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """The cloud-init section."""
        return cloudinit(config, options.cloudinit_of(args, self.password()), self.target.uuid)
