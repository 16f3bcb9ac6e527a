"""Action plugin: one network device of a VM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.configuring import ConfiguringAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import network
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan


class ActionModule(ConfiguringAction):
    """See plugins/modules/vm_network.py for the documentation."""

    ARGUMENTS = options.NETWORK | options.TIMEOUT

    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """The network section."""
        return network(config, options.network_of(args))
