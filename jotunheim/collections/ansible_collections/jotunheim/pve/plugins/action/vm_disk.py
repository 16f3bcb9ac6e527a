"""Action plugin: the size of a VM's disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.configuring import ConfiguringAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan


class ActionModule(ConfiguringAction):
    """See plugins/modules/vm_disk.py for the documentation."""

    ARGUMENTS = options.DISK | options.TIMEOUT

    def sections(self, config: Mapping[str, Any], args: dict[str, Any]) -> Plan:
        """The disk section."""
        return disk(config, options.disk_of(args))
