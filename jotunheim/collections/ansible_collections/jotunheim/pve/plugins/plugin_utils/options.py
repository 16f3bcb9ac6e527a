"""The options of the configuring plugins: Ansible's specification of each section, and its reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import firewall, passwords, rules
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import CloudInit, IpConfig
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import Disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import General
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import MODELS, Nic

Spec = dict[str, dict[str, Any]]

TIMEOUT: Spec = {"timeout_seconds": {"type": "int", "default": 600}}

GENERAL: Spec = {
    "name": {"type": "str"},
    "cores": {"type": "int"},
    "memory_bytes": {"type": "int"},
    "cpu_type": {"type": "str"},
    "tags": {"type": "list", "elements": "str"},
    "description": {"type": "str"},
    "onboot": {"type": "bool"},
    "agent": {"type": "bool"},
}

DISK: Spec = {
    "size_bytes": {"type": "int", "required": True},
    "device": {"type": "str"},
}

NETWORK: Spec = {
    "index": {"type": "int", "default": 0},
    "bridge": {"type": "str"},
    "model": {"type": "str", "choices": list(MODELS)},
    "mac": {"type": "str"},
    "vlan": {"type": "int"},
    "mtu": {"type": "int"},
    "rate_bytes_per_second": {"type": "int"},
    "firewall": {"type": "bool"},
}

CLOUDINIT: Spec = {
    "user": {"type": "str"},
    "ssh_keys": {"type": "list", "elements": "str", "no_log": False},
    "renew_password": {"type": "bool", "default": False, "no_log": False},
    "ip_configs": {
        "type": "list",
        "elements": "dict",
        "options": {
            "interface": {"type": "int", "default": 0},
            "ipv4_address": {"type": "str"},
            "ipv4_gateway": {"type": "str"},
            "ipv6_address": {"type": "str"},
            "ipv6_gateway": {"type": "str"},
        },
    },
    "nameservers": {"type": "list", "elements": "str"},
    "search_domain": {"type": "str"},
    "storage": {"type": "str"},
}

CONFIG: Spec = {
    **GENERAL,
    "cloudinit": {"type": "dict", "options": CLOUDINIT},
    "networks": {"type": "list", "elements": "dict", "options": NETWORK},
    "disk": {"type": "dict", "options": DISK},
    "boot_order": {"type": "list", "elements": "str"},
    "iso": {"type": "str"},
    **TIMEOUT,
}

FIREWALL: Spec = {
    "enabled": {"type": "bool"},
    "mac_filter": {"type": "bool"},
    "ip_filter": {"type": "bool"},
    "addresses": {"type": "list", "elements": "str"},
    "policy_in": {"type": "str"},
    "policy_out": {"type": "str"},
    "rules": {
        "type": "list",
        "elements": "dict",
        "options": {
            "direction": {"type": "str", "required": True, "choices": ["in", "out"]},
            "action": {"type": "str", "required": True, "choices": list(firewall.POLICIES)},
            "macro": {"type": "str"},
            "protocol": {"type": "str"},
            "source": {"type": "str"},
            "destination": {"type": "str"},
            "source_port": {"type": "str"},
            "destination_port": {"type": "str"},
            "comment": {"type": "str"},
            "enabled": {"type": "bool", "default": True},
        },
    },
}


def general_of(args: Mapping[str, Any]) -> General:
    """The general section; `description` belongs to the mark, see `ownership`."""
    return General(**_pick(args, GENERAL.keys() - {"description"}))


def disk_of(args: Mapping[str, Any]) -> Disk:
    """The disk section."""
    return Disk(**_pick(args, DISK))


def network_of(args: Mapping[str, Any]) -> Nic:
    """One network device."""
    return Nic(**_pick(args, NETWORK))


def cloudinit_of(args: Mapping[str, Any], password: str | None) -> CloudInit:
    """The cloud-init section with the password, which comes from a variable."""
    values = _pick(args, CLOUDINIT)
    if values["ip_configs"] is not None:
        names = CLOUDINIT["ip_configs"]["options"]
        values["ip_configs"] = [IpConfig(**_pick(entry, names)) for entry in values["ip_configs"]]
    return CloudInit(**values, password=passwords.sent(password).text if password else None)


def firewall_of(args: Mapping[str, Any]) -> firewall.Wanted:
    """The firewall. Raises DataValidationError when an address, a policy or a rule is none."""
    given = _pick(args, ("enabled", "mac_filter", "ip_filter"))
    given |= {name: firewall.policy_of(name, args[name]) for name in ("policy_in", "policy_out")}
    listed = args["rules"]
    return firewall.Wanted(
        addresses=firewall.addresses_of(args["addresses"]),
        rules=None if listed is None else tuple(rules.wanted_rule(rule) for rule in listed),
        **given,
    )


def _pick(args: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: args.get(name) for name in names}
