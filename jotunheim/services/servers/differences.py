"""What a look at a VM has found, in the words of a server's record."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from jotunheim.data.server.change import ServerChange
from jotunheim.data.server.drift import Acceptable, Difference
from jotunheim.repositories.peewee.servers import Server

FIREWALL = "firewall."
"""What the settings of the firewall begin with."""
RATE = "net0.rate"
_FIELDS = {
    "exists": "vm",
    "owner": "owner",
    "smbios1.uuid": "owner",
    "cores": "cpu",
    "sockets": "cpu",
    "disk": "disk_bytes",
    "sshkeys": "ssh_keys",
    "ciuser": "cloud_init",
    "nameserver": "cloud_init",
    "searchdomain": "cloud_init",
}
"""The field that a setting belongs to, where it has another name."""
_DRIVE = re.compile(r"(ide|sata|scsi|virtio)\d+")
_ACCEPTED = {
    Acceptable.NAME: {"name"},
    Acceptable.CPU: {"cores", "sockets"},
    Acceptable.MEMORY: {"memory_bytes"},
    Acceptable.TAGS: {"tags"},
    Acceptable.DESCRIPTION: {"description"},
    Acceptable.AGENT: {"agent.enabled"},
    Acceptable.NETWORK: {RATE},
}
"""The settings that are accepted with a field; of `disk_bytes`, the size of whatever disk the VM boots from."""


def of(told: Mapping[str, Any]) -> list[Difference]:
    """The differences that the plugin `vm_drift` has told."""
    return [
        Difference(
            field=_field(entry["setting"], entry),
            setting=entry["setting"],
            recorded=entry["recorded"],
            found=entry["found"],
        )
        for entry in told["differences"]
    ]


def acceptable(server: Server, found: Iterable[Difference], told: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the record could take over, by field: such as a caller might ask for, and the VM has."""
    settings = told["settings"]
    if not settings or not told["identified"]:
        return {}  # it may be a copy of the server's VM
    by_setting = {difference.setting: difference for difference in found}
    candidates = {
        field: _value(field, server, settings, by_setting)
        for field in Acceptable
        if any(is_accepted_with(field, difference) for difference in by_setting.values())
    }
    return {
        field.value: value
        for field, value in candidates.items()
        if value is not None and _could_be_asked_for(field, value)
    }


def is_accepted_with(field: str, difference: Difference) -> bool:
    """Whether a difference goes when a field is accepted."""
    if field == Acceptable.DISK:
        return difference.setting.endswith(".size_bytes")
    return difference.setting in _ACCEPTED[Acceptable(field)]


def not_among(fields: Collection[str], differences: Iterable[Difference]) -> list[Difference]:
    """Those of these differences that stay when these fields are accepted."""
    return [
        difference
        for difference in differences
        if not any(is_accepted_with(field, difference) for field in fields)
    ]


def _value(
    field: Acceptable, server: Server, settings: Mapping[str, Any], by_setting: Mapping[str, Difference]
) -> Any:
    """What was found of a field, as a `ServerChange` has it; None: it is none that could be taken over."""
    match field:
        case Acceptable.NAME:
            # The VM is called as the host is: another name of the one would not be the other's.
            return settings["name"] if server.hostname == server.name else None
        case Acceptable.CPU:
            return settings["cores"]
        case Acceptable.DISK:
            found = settings["disk_bytes"]
            return found if found and found > (server.disk_bytes or 0) else None
        case Acceptable.DESCRIPTION:
            return by_setting["description"].found
        case Acceptable.NETWORK:
            rate = settings["network"].get("rate_bytes_per_second", 0)
            bounds = (server.limits.get("rate_bytes_per_second"), server.throttle_bytes_per_second)
            fits = all(0 < rate <= bound for bound in bounds if bound)  # else it would differ as before
            return {"rate_bytes_per_second": rate} if fits else None
        case _:
            return settings[field.value]


def _could_be_asked_for(field: str, value: Any) -> bool:
    try:
        ServerChange.model_validate({field: value})
    except ValidationError:
        return False
    return True


def _field(setting: str, entry: Mapping[str, Any]) -> str:
    if setting.startswith(FIREWALL):
        return "firewall"
    if setting.endswith(".size_bytes"):
        return "disk_bytes"
    first = setting.partition(".")[0]
    if first.startswith("net"):
        return "network"
    if first.startswith("ipconfig"):
        return "addresses"
    if _DRIVE.fullmatch(first):
        return "cloud_init" if "cloudinit" in str(entry["recorded"]) else "iso"
    return _FIELDS.get(setting, first)
