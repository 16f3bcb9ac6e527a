"""PVE's API schema as PVE 8.4 has it.

The data of `fakepve` was taken from PVE 9. This module is the one place that knows the differences which
the recordings show, and adds the formats that the data names without defining them.
"""

import copy
import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from fakepve import formats
from fakepve import schema as pve_schema

Spec = dict[str, Any]

MAX_INDEX = {
    "net": 32,
    "ipconfig": 32,
    "ide": 4,
    "sata": 6,
    "scsi": 31,
    "virtio": 16,
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
    *(f"{bus}{n}" for bus in ("ide", "scsi", "virtio", "sata") for n in range(MAX_INDEX[bus])),
    "efidisk0",
    "tpmstate0",
)
"""Configuration keys that hold a drive, in PVE's order."""

CPU_MODELS = frozenset(
    [
        "486",
        "Broadwell",
        "Broadwell-IBRS",
        "Broadwell-noTSX",
        "Broadwell-noTSX-IBRS",
        "Cascadelake-Server",
        "Cascadelake-Server-noTSX",
        "Cascadelake-Server-v2",
        "Cascadelake-Server-v4",
        "Cascadelake-Server-v5",
        "Conroe",
        "Cooperlake",
        "Cooperlake-v2",
        "EPYC",
        "EPYC-Genoa",
        "EPYC-IBPB",
        "EPYC-Milan",
        "EPYC-Milan-v2",
        "EPYC-Rome",
        "EPYC-Rome-v2",
        "EPYC-Rome-v3",
        "EPYC-Rome-v4",
        "EPYC-v3",
        "EPYC-v4",
        "GraniteRapids",
        "Haswell",
        "Haswell-IBRS",
        "Haswell-noTSX",
        "Haswell-noTSX-IBRS",
        "Icelake-Client",
        "Icelake-Client-noTSX",
        "Icelake-Server",
        "Icelake-Server-noTSX",
        "Icelake-Server-v3",
        "Icelake-Server-v4",
        "Icelake-Server-v5",
        "Icelake-Server-v6",
        "IvyBridge",
        "IvyBridge-IBRS",
        "KnightsMill",
        "Nehalem",
        "Nehalem-IBRS",
        "Opteron_G1",
        "Opteron_G2",
        "Opteron_G3",
        "Opteron_G4",
        "Opteron_G5",
        "Penryn",
        "SandyBridge",
        "SandyBridge-IBRS",
        "SapphireRapids",
        "SapphireRapids-v2",
        "Skylake-Client",
        "Skylake-Client-IBRS",
        "Skylake-Client-noTSX-IBRS",
        "Skylake-Client-v4",
        "Skylake-Server",
        "Skylake-Server-IBRS",
        "Skylake-Server-noTSX-IBRS",
        "Skylake-Server-v4",
        "Skylake-Server-v5",
        "Westmere",
        "Westmere-IBRS",
        "athlon",
        "core2duo",
        "coreduo",
        "host",
        "kvm32",
        "kvm64",
        "max",
        "pentium",
        "pentium2",
        "pentium3",
        "phenom",
        "qemu32",
        "qemu64",
        "x86-64-v2",
        "x86-64-v2-AES",
        "x86-64-v3",
        "x86-64-v4",
    ]
)
CPU_FLAGS = (
    r"md-clear|pcid|spec-ctrl|ssbd|ibpb|virt-ssbd|amd-ssbd|amd-no-ssb|pdpe1gb|hv-tlbflush|hv-evmcs|aes"
)

UUID = r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"
BASE64 = r"[A-Za-z0-9+/]+={0,2}"
SMBIOS_TEXTS = ("version", "serial", "manufacturer", "product", "sku", "family")
HIGHEST_PORT, HIGHEST_PROTOCOL = 65535, 255
SERVICES = frozenset(
    [
        "ftp",
        "ssh",
        "telnet",
        "smtp",
        "domain",
        "http",
        "pop3",
        "ntp",
        "imap2",
        "snmp",
        "ldap",
        "https",
        "ldaps",
        "imaps",
        "pop3s",
        "mysql",
        "postgresql",
    ]
)
PROTOCOLS = frozenset(
    [
        "ah",
        "dccp",
        "egp",
        "eigrp",
        "encap",
        "esp",
        "etherip",
        "fc",
        "ggp",
        "gre",
        "hip",
        "hopopt",
        "icmp",
        "icmpv6",
        "idpr-cmtp",
        "idrp",
        "igmp",
        "igp",
        "ip",
        "ipcomp",
        "ipencap",
        "ipip",
        "ipv6",
        "ipv6-frag",
        "ipv6-icmp",
        "ipv6-nonxt",
        "ipv6-opts",
        "ipv6-route",
        "isis",
        "iso-tp4",
        "l2tp",
        "manet",
        "mobility-header",
        "mpls-in-ip",
        "ospf",
        "pim",
        "pup",
        "rdp",
        "rohc",
        "rspf",
        "rsvp",
        "sctp",
        "shim6",
        "skip",
        "st",
        "tcp",
        "udp",
        "udplite",
        "vmtp",
        "vrrp",
        "wesp",
        "xns-idp",
        "xtp",
    ]
)


def _cpu_type(value: str) -> str | None:
    if value.startswith("custom-"):
        return f"Custom cputype '{value}' not found"
    if value in CPU_MODELS:
        return None
    return f"Built-in cputype '{value}' is not defined (missing 'custom-' prefix?)"


def _boot_device(value: str) -> str | None:
    bootable = re.fullmatch(r"(net|hostpci|usb)\d+", value) or value in DISK_KEYS[:-2]
    return None if bootable else f"invalid boot device '{value}'"


def _firewall_address(value: str) -> str | None:
    if re.fullmatch(r"\+\S+", value) or re.fullmatch(r"((dc|guest)/)?[A-Za-z][A-Za-z0-9_-]+", value):
        return None
    versions = set()
    for part in value.split(","):
        address, _, end = part.partition("-")
        try:
            versions.add(ipaddress.ip_network(address, strict=False).version)
            if end:
                versions.add(ipaddress.ip_address(end).version)
        except ValueError:
            host = address.partition("/")[0]
            letters = re.search(r"[^0-9.]", host) and ":" not in host
            why = f"Invalid chars in IP {host}" if letters else f"Invalid IP address {host}"
            return f"invalid IP address: {why}"
    if len(versions) > 1:
        return f"detected mixed ipv4/ipv6 addresses in address list '{value}'"
    return None


def _firewall_ports(value: str) -> str | None:
    for part in value.split(","):
        start, colon, end = part.partition(":")
        for port in (start, end) if colon else (start,):
            numeric = port.isdigit() and int(port) <= HIGHEST_PORT
            if not numeric and port not in SERVICES:
                return f"invalid port '{port}'"
        if colon and start.isdigit() and end.isdigit() and int(start) > int(end):
            return f"invalid port range '{part}'"
    return None


def _firewall_protocol(value: str) -> str | None:
    known = value in PROTOCOLS or (value.isdigit() and int(value) <= HIGHEST_PROTOCOL)
    return None if known else f"unknown protocol '{value}'"


NAMED_FORMATS: dict[str, Callable[[str], str | None]] = {
    "pve-cpu-type": _cpu_type,
    "pve-qm-bootdev": _boot_device,
    "pve-fw-addr-spec": _firewall_address,
    "pve-fw-dport-spec": _firewall_ports,
    "pve-fw-sport-spec": _firewall_ports,
    "pve-fw-protocol-spec": _firewall_protocol,
}
"""Formats of single values that the schema names and `fakepve.formats` does not check."""

PROPERTY_STRINGS: dict[str, dict[str, Spec]] = {
    **formats.REGISTERED,
    "pve-qm-smbios1": {
        "uuid": {"type": "string", "optional": 1, "pattern": UUID},
        **{name: {"type": "string", "optional": 1, "pattern": BASE64} for name in SMBIOS_TEXTS},
        "base64": {"type": "boolean", "optional": 1},
    },
    "pve-qm-cicustom": {
        name: {"type": "string", "optional": 1, "format": "pve-volume-id"}
        for name in ("meta", "network", "user", "vendor")
    },
    "pve-vm-cpu-conf": {
        "cputype": {"type": "string", "format": "pve-cpu-type", "default_key": 1, "optional": 1},
        "reported-model": {"type": "string", "optional": 1},
        "hidden": {"type": "boolean", "optional": 1},
        "hv-vendor-id": {"type": "string", "optional": 1, "pattern": r"[a-zA-Z0-9]{1,12}"},
        "flags": {"type": "string", "optional": 1, "pattern": rf"[+-]({CPU_FLAGS})(;[+-]({CPU_FLAGS}))*"},
        "phys-bits": {"type": "string", "optional": 1},
        "guest-phys-bits": {"type": "integer", "optional": 1, "minimum": 32, "maximum": 64},
    },
}
"""Formats of `key=value,...` values that the schema names."""

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
