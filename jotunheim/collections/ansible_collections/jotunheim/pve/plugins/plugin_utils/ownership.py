"""The mark that says whose a VM is: our server's UUID in its SMBIOS data and in its description.

PVE's VMIDs are reused, and `nextid` reserves nothing, so a VMID alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import GENERATED, Properties

_MARK = "jotunheim:server="


def mark(uuid: str) -> str:
    """The first line of the description of a VM of ours."""
    return f"{_MARK}{uuid.lower()}"


def is_ours(config: Mapping[str, Any], uuid: str) -> bool:
    """Whether the configuration carries the server's UUID in either place."""
    return smbios_uuid(config) == uuid.lower() or _first_line(config) == mark(uuid)


def smbios_uuid(config: Mapping[str, Any]) -> str:
    """The SMBIOS UUID in lower case, or ""."""
    return Properties(str(config.get("smbios1", ""))).get("uuid", "").lower()


def is_adopted(config: Mapping[str, Any], uuid: str) -> bool:
    """Whether our first configuration write has happened: it sets the SMBIOS UUID, a clone has another."""
    return smbios_uuid(config) == uuid.lower()


def description_text(config: Mapping[str, Any]) -> str:
    """The user's part of the description: all of it but a mark line."""
    text = _normal(str(config.get("description", "")))
    if not text.startswith(_MARK):
        return text
    return text.partition("\n")[2]


def described(uuid: str, text: str) -> str:
    """The whole description: mark line, then the user's text."""
    return _normal(f"{mark(uuid)}\n{text}")


def identity(config: Mapping[str, Any], uuid: str, description: str | None) -> Plan:
    """The mark, in both places, and the user's description (None: keep it)."""
    plan = Plan()
    if not is_adopted(config, uuid):
        smbios = Properties(str(config.get("smbios1", "")))
        smbios["uuid"] = uuid.lower()
        # What it was is random and differs between a template's and its clone's: not worth a line of diff.
        plan.set("smbios1", GENERATED, uuid.lower(), sent=str(smbios), shown_as="smbios1.uuid")
    before = _normal(str(config.get("description", "")))
    text = description_text(config) if description is None else description
    plan.set("description", before, described(uuid, text))
    return plan


def _first_line(config: Mapping[str, Any]) -> str:
    return str(config.get("description", "")).partition("\n")[0].strip()


def _normal(text: str) -> str:
    """As PVE keeps it: it drops white space at the end, and carriage returns would never compare equal."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
