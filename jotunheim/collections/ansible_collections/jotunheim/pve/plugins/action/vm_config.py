"""Action plugin: everything about a VM's configuration in one read and one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.configuring import ConfiguringAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import general
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import network
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan


class ActionModule(ConfiguringAction):
    """See plugins/modules/vm_config.py for the documentation."""

    ARGUMENTS = options.CONFIG

    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """All sections that are given."""
        plan = general(config, options.general_of(args))
        for device in args["networks"] or ():
            plan += network(config, options.network_of(device))
        if args["cloudinit"] is not None:
            plan += cloudinit(
                config, options.cloudinit_of(args["cloudinit"], self.password()), self.target.uuid
            )
        if args["disk"] is not None:
            plan += disk(config, options.disk_of(args["disk"]))
        return plan
