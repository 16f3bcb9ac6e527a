"""PVE's API schema as PVE 8.4 has it.

The data of `fakepve` was taken from PVE 9. This module is the one place that knows the differences which
the recordings show. `formats84` has the formats that the data names without defining them.
"""

import copy
import functools
import re
from collections.abc import Mapping
from typing import Any

from fakepve import schema as pve_schema

from jotunheim.sandbox.formats84 import DISK_BUSES

Spec = dict[str, Any]

MAX_INDEX = {
    "net": 32,
    "ipconfig": 32,
    **DISK_BUSES,
    "unused": 256,
    "numa": 8,
    "hostpci": 16,
    "usb": 14,
    "virtiofs": 10,
    "serial": 4,
    "parallel": 3,
}
"""Numbered options of a VM and the first index that PVE refuses."""

DISK_KEYS = (
    *(f"{bus}{n}" for bus, count in DISK_BUSES.items() for n in range(count)),
    "efidisk0",
    "tpmstate0",
)
"""Configuration keys that hold a drive, in PVE's order."""

VMID = {"format": "pve-vmid", "type": "integer"}
"""PVE 9 states the range of a VMID as limits too; PVE 8.4 only knows the format."""


def _adjust(paths: dict[str, dict[str, Spec]]) -> None:
    """Change PVE 9's data into PVE 8.4's, in place."""
    for path, methods in paths.items():
        for info in methods.values():
            if "/qemu/{vmid}/agent" in path and "check" in (info.get("permissions") or {}):
                info["permissions"] = {"check": ["perm", "/vms/{vmid}", ["VM.Monitor"]]}
            properties = (info.get("parameters") or {}).get("properties") or {}
            for name, spec in properties.items():
                if spec.get("format") == "pve-vmid":
                    properties[name] = {**spec, **VMID}
                    properties[name].pop("minimum", None)
                    properties[name].pop("maximum", None)
    network = paths["/nodes/{node}/network"]["GET"]["parameters"]["properties"]["type"]
    download = paths["/nodes/{node}/storage/{storage}/download-url"]["POST"]["parameters"]["properties"]
    download["compression"]["enum"] = ["gz", "lzo", "zst", "bz2"]  # the data names a constant of PVE's code
    network["enum"] = [kind for kind in network["enum"] if kind not in ("fabric", "include_sdn")]


@functools.cache
def load() -> Any:
    """The schema: `match(path)` gives a path's template, parameters and methods."""
    original = pve_schema.load()
    paths = copy.deepcopy(original.paths)
    _adjust(paths)
    return pve_schema.Schema(paths)


@functools.cache
def numbered(name: str) -> tuple[str, int] | None:
    """`net0` -> ("net", 0) for a numbered option that exists, else None."""
    found = re.fullmatch(r"([a-z]+)(0|[1-9]\d*)", name)
    if found and int(found[2]) < MAX_INDEX.get(found[1], 0):
        return found[1], int(found[2])
    return None


def option(properties: Mapping[str, Spec], name: str) -> Spec | None:
    """The schema of a parameter; a numbered one (net0) is found under its pattern (net[n])."""
    if name in properties:
        return properties[name]
    found = numbered(name)
    return properties.get(f"{found[0]}[n]") if found else None


@functools.cache
def config_properties() -> dict[str, Spec]:
    """The options of a VM's configuration, by the parameters of the call that changes it."""
    parameters = load().paths["/nodes/{node}/qemu/{vmid}/config"]["PUT"]["parameters"]["properties"]
    control = ("node", "vmid", "digest", "delete", "revert", "force", "skiplock", "background_delay")
    return {name: spec for name, spec in parameters.items() if name not in control}


@functools.cache
def config_type(name: str) -> str:
    """The JSON type of a configuration option as PVE reads it back."""
    spec = option(config_properties(), name)
    return "integer" if name == "template" else str((spec or {}).get("type", "string"))
