"""Action plugin: one phase of building a template from a cloud image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import template_build
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import template_uuid
from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import VARIABLES, Target, read_target
from ansible_collections.jotunheim.pve.plugins.plugin_utils.template import Wanted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm


class ActionModule(PveAction):
    """See plugins/modules/template_build.py for the documentation."""

    ARGUMENTS = {
        "phase": {"type": "str", "required": True, "choices": ["fetch", "make", "clean"]},
        "url": {"type": "str", "required": True},
        "checksum": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "storage": {"type": "str", "required": True},
        "bridge": {"type": "str", "default": "vmbr0"},
        "cores": {"type": "int", "default": 1},
        "memory_bytes": {"type": "int", "default": 1024**3},
        "disk_bytes": {"type": "int"},
        "image_storage": {"type": "str", "default": "local"},
        "image_name": {"type": "str"},
        "keep_image": {"type": "bool", "default": True},
        "replace": {"type": "bool", "default": False},
        "timeout_seconds": {"type": "int", "default": 1800},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Do the phase, or what is left of it."""
        given = {name: args[name] for name in self.ARGUMENTS if name != "phase"}
        wanted = Wanted(**given | {"checksum": args["checksum"].strip().lower()})
        wanted.check()
        phases = {"fetch": template_build.fetch, "make": template_build.make, "clean": template_build.clean}
        plan = phases[args["phase"]](vm, wanted, checking=self.checking)
        return self.outcome(plan, image=wanted.volid)

    def _read_target(self) -> Target:
        """A template needs no `pve_uuid`: its own follows from its VMID."""
        values = {name: self.variable(name) for name in VARIABLES}
        target = read_target(values | {"pve_uuid": template_uuid(0)})
        return replace(target, uuid=template_uuid(target.vmid))
