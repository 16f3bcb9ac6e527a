"""Cloud-init: user, keys, password, addresses, resolver; and the drive that carries them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import storage_of, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_adopted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties

_DRIVE = re.compile(r"^[^,]*cloudinit[^,]*(,|$)")
_IPCONFIG = re.compile(r"ipconfig\d+")
_OPTIONS = frozenset(
    {
        "cicustom",
        "cipassword",
        "citype",
        "ciupgrade",
        "ciuser",
        "nameserver",
        "searchdomain",
        "sshkeys",
    }
)
_DRIVE_SLOTS = ("ide2", "ide0", "ide1", "ide3", "sata5", "scsi30")


@dataclass(frozen=True)
class IpConfig:
    """Addresses of one interface: CIDR notation, or ``dhcp`` (IPv6 also ``auto``); None: none."""

    interface: int = 0
    ipv4_address: str | None = None
    ipv4_gateway: str | None = None
    ipv6_address: str | None = None
    ipv6_gateway: str | None = None


@dataclass(frozen=True)
class CloudInit:
    """Wanted values; None leaves a setting as it is, an empty one removes it.

    Attributes:
        password: plain text, of which PVE stores the hash, or a hash; see `passwords.sent`.
        renew_password: set it even when one of ours is set already (it cannot be compared).
        ip_configs: interfaces that are not listed are left as they are.
        storage: where a missing drive is made; None: beside the system disk.
    """

    user: str | None = None
    ssh_keys: Sequence[str] | None = None
    password: str | None = None
    renew_password: bool = False
    ip_configs: Sequence[IpConfig] | None = None
    nameservers: Sequence[str] | None = None
    search_domain: str | None = None
    storage: str | None = None

    def __repr__(self) -> str:
        return f"CloudInit(user={self.user!r}, …)"


def cloudinit(config: Mapping[str, Any], wanted: CloudInit, uuid: str) -> Plan:
    """The plan that makes the cloud-init settings as wanted, with a drive if there is none.

    A password cannot be read back. It is sent when none is set or when this is the first write to a
    clone (which inherits its template's), so that a second run changes nothing.
    """
    plan = Plan()
    _drive(plan, config, wanted.storage)
    _text(plan, config, "ciuser", wanted.user)
    if wanted.ssh_keys is not None:
        _keys(plan, config, wanted.ssh_keys)
    if wanted.password:
        known = "cipassword" in config
        if wanted.renew_password or not known or not is_adopted(config, uuid):
            plan.set_secret("cipassword", wanted.password, known=known)
    for entry in wanted.ip_configs or ():
        _addresses(plan, config, entry)
    _text(plan, config, "nameserver", None if wanted.nameservers is None else " ".join(wanted.nameservers))
    _text(plan, config, "searchdomain", wanted.search_domain)
    return plan


def ssh_keys(config: Mapping[str, Any]) -> list[str]:
    """The configured keys, one per entry."""
    return _lines(unquote(str(config.get("sshkeys", ""))))


def has_drive(config: Mapping[str, Any]) -> bool:
    """Whether the VM has a cloud-init drive."""
    return any(
        _DRIVE.match(str(value))
        for key, value in config.items()
        if key.rstrip("0123456789") in {"ide", "sata", "scsi"}
    )


def is_option(key: str) -> bool:
    """Whether a configuration key only matters to the cloud-init drive."""
    return key in _OPTIONS or _IPCONFIG.fullmatch(key) is not None


def _drive(plan: Plan, config: Mapping[str, Any], storage: str | None) -> None:
    if has_drive(config):
        return
    slot = next(slot for slot in _DRIVE_SLOTS if slot not in config)
    volume = f"{storage or storage_of(config, system_disk(config))}:cloudinit"
    plan.set(slot, None, volume)


def _text(plan: Plan, config: Mapping[str, Any], key: str, wanted: str | None) -> None:
    if wanted:
        plan.set(key, config.get(key), wanted)
    elif wanted is not None:
        plan.remove(key, config.get(key))


def _keys(plan: Plan, config: Mapping[str, Any], wanted: Sequence[str]) -> None:
    before = ssh_keys(config)
    after = _lines("\n".join(wanted))
    if after:
        plan.set("sshkeys", before, after, sent=quote("\n".join(after) + "\n", safe=""))
    elif before:
        plan.remove("sshkeys", before)


def _addresses(plan: Plan, config: Mapping[str, Any], wanted: IpConfig) -> None:
    key = f"ipconfig{wanted.interface}"
    before = Properties(str(config.get(key, "")))
    after = Properties()
    after.put("ip", wanted.ipv4_address)
    after.put("gw", wanted.ipv4_gateway)
    after.put("ip6", wanted.ipv6_address)
    after.put("gw6", wanted.ipv6_gateway)
    if after:
        plan.set_properties(key, before, after)
    elif before:
        plan.remove(key, str(before))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
