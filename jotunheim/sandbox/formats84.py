"""Formats of values that the schema's data names without defining them, as PVE 8.4 checks them."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from fakepve import formats

from jotunheim.data.server.firewall_names import PROTOCOLS
from jotunheim.sandbox.roles import PRIVILEGES

DISK_BUSES = {"ide": 4, "scsi": 31, "virtio": 16, "sata": 6}
"""Buses that a disk can be booted from, and how many disks each takes."""

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


def _cpu_type(value: str) -> str | None:
    if value.startswith("custom-"):
        return f"Custom cputype '{value}' not found"
    if value in CPU_MODELS:
        return None
    return f"Built-in cputype '{value}' is not defined (missing 'custom-' prefix?)"


def _boot_device(value: str) -> str | None:
    found = re.fullmatch(r"([a-z]+)(\d+)", value)
    disk = found and int(found[2]) < DISK_BUSES.get(found[1], 0)
    other = found and found[1] in ("net", "hostpci", "usb")
    return None if disk or other else f"invalid boot device '{value}'"


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
            numeric = re.fullmatch(r"0*\d{1,5}", port, re.A) and int(port[-5:]) <= HIGHEST_PORT
            if not numeric and port not in SERVICES:
                return f"invalid port '{port}'"
        if colon and start.isdigit() and end.isdigit() and int(start[-5:]) > int(end[-5:]):
            return f"invalid port range '{part}'"
    return None


def _firewall_protocol(value: str) -> str | None:
    number = re.fullmatch(r"\d{1,3}", value, re.A)
    known = value in PROTOCOLS or (number and int(value) <= HIGHEST_PROTOCOL)
    return None if known else f"unknown protocol '{value}'"


def _privilege(value: str) -> str | None:
    return None if value in PRIVILEGES else f"invalid privilege '{value}'"


NAMED_FORMATS: dict[str, Callable[[str], str | None]] = {
    "pve-cpu-type": _cpu_type,
    "pve-qm-bootdev": _boot_device,
    "pve-fw-addr-spec": _firewall_address,
    "pve-fw-dport-spec": _firewall_ports,
    "pve-fw-sport-spec": _firewall_ports,
    "pve-fw-protocol-spec": _firewall_protocol,
    "pve-priv": _privilege,
}
"""Formats of single values that the schema names and `fakepve.formats` does not check."""

PROPERTY_STRINGS: dict[str, dict[str, dict[str, Any]]] = {
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
