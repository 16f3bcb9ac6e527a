"""The mark that says whose a VM is: our server's UUID in its SMBIOS data and in its description.

PVE's VMIDs are reused, and `nextid` reserves nothing, so a VMID alone proves nothing.

A description is: the mark line, service lines (what a rebuild notes, see `progress`, and a restore), the user's text.

A template that we have built from an image says so in its first line, with the image's checksum. Clones inherit notes: that it is the
template itself shows its SMBIOS UUID, which follows from its VMID, and which Proxmox VE gives to no clone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import GENERATED, Properties

from jotunheim.repositories.proxmox import configuration

_MARK = configuration.MARK
_TEMPLATE_MARK = "jotunheim:template="
_SERVICE_LINE = re.compile(r"jotunheim:(replaced|rebuild|discarded|restored)=")

# A user's text that would read as service lines gets an empty line before it, which is no part of it.
_MISTAKABLE = re.compile(rf"\n*{_SERVICE_LINE.pattern}")


def mark(uuid: str) -> str:
    """The first line of the description of a VM of ours."""
    return f"{_MARK}{uuid.lower()}"


def is_ours(config: Mapping[str, Any], uuid: str) -> bool:
    """Whether the configuration carries the server's UUID in either place."""
    return smbios_uuid(config) == uuid.lower() or _first_line(config) == mark(uuid)


def says_nothing(config: Mapping[str, Any]) -> bool:
    """Whether the configuration does not say whose it is, nor who it is: what a restore leaves that broke off."""
    return not config.get("description") and not config.get("smbios1") and not config.get("name")


def marked_for(config: Mapping[str, Any]) -> str | None:
    """The UUID, in lower case, of the server that the description names; None: it names none."""
    line = _first_line(config)
    return line.removeprefix(_MARK).lower() if line.startswith(_MARK) else None


def smbios_uuid(config: Mapping[str, Any]) -> str:
    """The SMBIOS UUID in lower case, or ""."""
    return Properties(str(config.get("smbios1", ""))).get("uuid", "").lower()


def smbios_with(config: Mapping[str, Any], uuid: str) -> str:
    """The SMBIOS data of a configuration, with this UUID."""
    smbios = Properties(str(config.get("smbios1", "")))
    smbios["uuid"] = uuid.lower()
    return str(smbios)


def is_adopted(config: Mapping[str, Any], uuid: str) -> bool:
    """Whether our first configuration write has happened: it sets the SMBIOS UUID, a clone has another."""
    return smbios_uuid(config) == uuid.lower()


def scratch_uuid(uuid: str) -> str:
    """The UUID of the VM in which a rebuild of the server prepares the new disk: never the server's own."""
    return str(configuration.scratch_uuid(UUID(uuid)))


def template_mark(checksum: str) -> str:
    """The first line of the description of a template that we have built from the image with this checksum."""
    return f"{_TEMPLATE_MARK}{checksum}"


def template_checksum(config: Mapping[str, Any]) -> str | None:
    """The checksum of the image that a template of ours was built from, or a VM was cloned from by hand."""
    first = _first_line(config)
    return first.removeprefix(_TEMPLATE_MARK) if first.startswith(_TEMPLATE_MARK) else None


def template_uuid(vmid: int) -> str:
    """The SMBIOS UUID of a template that we have built under a VMID."""
    return str(uuid5(NAMESPACE_URL, f"jotunheim:template:{vmid}"))


def service_lines(config: Mapping[str, Any]) -> list[str]:
    """The lines between mark and user's text, in their order."""
    first, *others = _normal(str(config.get("description", ""))).split("\n")
    return list(takewhile(_SERVICE_LINE.match, others)) if first.startswith(_MARK) else []


def description_text(config: Mapping[str, Any]) -> str:
    """The user's part of the description: all of it but mark and service lines, and what a template's clone inherits."""
    text = _normal(str(config.get("description", "")))
    if template_checksum(config) is not None:
        return text.partition("\n")[2]
    if not text.startswith(_MARK):
        return text
    rest = "\n".join(text.split("\n")[1 + len(service_lines(config)) :])
    return rest.removeprefix("\n") if _MISTAKABLE.match(rest) else rest


def described(uuid: str, text: str, service: Iterable[str] = ()) -> str:
    """The whole description: mark line, service lines, the user's text."""
    text = _normal(text)
    if _MISTAKABLE.match(text):
        text = f"\n{text}"
    return _normal("\n".join([mark(uuid), *service, text]))


def identity(
    config: Mapping[str, Any], uuid: str, description: str | None, service: Iterable[str] | None = None
) -> Plan:
    """The mark, in both places, the user's description and the service lines (None: keep them)."""
    plan = Plan()
    if not is_adopted(config, uuid):
        # What it was is random and differs between a template's and its clone's: not worth a line of diff.
        plan.set("smbios1", GENERATED, uuid.lower(), sent=smbios_with(config, uuid), shown_as="smbios1.uuid")
    before = _normal(str(config.get("description", "")))
    text = description_text(config) if description is None else description
    lines = service_lines(config) if service is None else service
    plan.set("description", before, described(uuid, text, lines))
    return plan


def _first_line(config: Mapping[str, Any]) -> str:
    return str(config.get("description", "")).partition("\n")[0].strip()


def _normal(text: str) -> str:
    """As PVE keeps it: it drops white space at the end, and carriage returns would never compare equal."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
