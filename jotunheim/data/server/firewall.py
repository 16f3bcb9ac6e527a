"""Firewalls of servers: what is asked for and answered. What is accepted of a rule is what Proxmox VE accepts.

Left out on purpose: references to IP sets and aliases, which may be the operator's; names of ports, which depend on the
node's `/etc/services`; interfaces, since the first network device is the only one that we set up.
"""

import ipaddress
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from jotunheim.data.fields import Change, Id, Shape, ShortText, View
from jotunheim.data.server.firewall_names import MACROS, OF_FAMILY, PROTOCOLS, WITH_PORTS

MAX_RULES = 100
MAX_RULESETS = 8
MAX_PORT_NUMBERS = 15
"""iptables' multiport takes so many; a range counts as two."""
_PORTS = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?")
_PREFERRED = {name.lower(): name for name in MACROS}


class Direction(StrEnum):
    """Whether a rule is about what reaches the server, or what it sends."""

    IN = "in"
    OUT = "out"


class Verdict(StrEnum):
    """What becomes of a packet."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    REJECT = "REJECT"


def _macro(value: str) -> str:
    preferred = _PREFERRED.get(value.lower())
    if preferred is None:
        raise ValueError("is no macro of Proxmox VE, such as SSH or HTTPS")
    return preferred


def _protocol(value: str) -> str:
    if value not in PROTOCOLS:
        raise ValueError("is no protocol that Proxmox VE knows by this name, such as tcp, udp or icmp")
    return value


def _addresses(value: str) -> str:
    """Addresses as they are sent: whole ones without a length, IPv6 in its short form."""
    parts = value.split(",")
    if len(parts) > 1 and any("-" in part for part in parts):
        raise ValueError("a range must stand alone, not in a list")
    try:
        found = [_network_or_range(part) for part in parts]
    except ValueError:
        raise ValueError(
            "must be IP addresses and networks without host bits, joined by commas, or one range A-B"
        ) from None
    versions = {version for _, of_part in found for version in of_part}
    if len(versions) > 1:
        raise ValueError("must not mix IPv4 and IPv6")
    text = ",".join(spelled for spelled, _ in found)
    if len(text) > 512:
        raise ValueError("must have at most 512 characters")
    return text


def _network_or_range(part: str) -> tuple[str, set[int]]:
    """One part as it is sent, and the IP versions in it. Raises ValueError when it is neither."""
    first, dash, last = part.partition("-")
    if dash:
        begin, end = ipaddress.ip_address(first), ipaddress.ip_address(last)
        if "%" in part or (begin.version == end.version and int(begin) > int(end)):
            raise ValueError(part)
        return f"{begin}-{end}", {begin.version, end.version}
    network = ipaddress.ip_network(first)
    if "%" in part:
        raise ValueError(part)
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if whole else str(network), {network.version}


def _ports(value: str) -> str:
    spelled, numbers = [], 0
    for part in value.split(","):
        match = _PORTS.fullmatch(part)
        if match is None:
            raise ValueError("must be ports and ranges joined by commas, such as 80,443,1000:2000")
        ports = [int(port) for port in match.groups() if port is not None]
        if max(ports) > 65_535:
            raise ValueError("ports go up to 65535")
        if ports != sorted(ports):
            raise ValueError("a range must begin with its lowest port")
        spelled.append(":".join(map(str, ports)))
        numbers += len(ports)
    if numbers > MAX_PORT_NUMBERS:
        raise ValueError(f"must have at most {MAX_PORT_NUMBERS} ports, of which a range counts as two")
    return ",".join(spelled)


def _comment(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not contain line breaks or control characters")
    return value.strip()


Macro = Annotated[str, Field(max_length=128), AfterValidator(_macro)]
Protocol = Annotated[str, Field(max_length=32), AfterValidator(_protocol)]
Addresses = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_addresses)]
Ports = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_ports)]
Comment = Annotated[str, Field(max_length=255), AfterValidator(_comment)]


class FirewallRule(Shape):
    """One rule. The first one that matches a packet says what becomes of it; what is left out matches anything."""

    direction: Direction = Field(strict=False)
    action: Verdict = Field(strict=False)
    macro: Macro | None = None
    """A macro of Proxmox VE, such as `SSH`, in place of protocol and ports."""
    protocol: Protocol | None = None
    source: Addresses | None = None
    """Addresses and networks of one family, joined by commas, or one range `A-B`."""
    destination: Addresses | None = None
    source_port: Ports | None = None
    """Ports and ranges, such as `80,443,1000:2000`; only with a protocol that has ports."""
    destination_port: Ports | None = None
    comment: Comment = ""
    enabled: bool = True

    @field_validator("protocol")
    @classmethod
    def _not_with_macro(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("macro") is not None:
            raise ValueError("must not be given together with a macro, which says it")
        return value

    @field_validator("source", "destination")
    @classmethod
    def _of_one_family(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        version = _version(value)
        source = info.data.get("source")
        if source is not None and _version(source) != version:
            raise ValueError("must be of the same family as the source")
        if OF_FAMILY.get(info.data.get("protocol") or "", version) != version:
            raise ValueError("must be of the family that the protocol belongs to")
        return value

    @field_validator("source_port", "destination_port")
    @classmethod
    def _only_with_ports(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or "protocol" not in info.data:  # which is wrong itself
            return value
        if info.data.get("macro") is not None:
            raise ValueError("must not be given together with a macro, which says it")
        if info.data["protocol"] not in WITH_PORTS:
            raise ValueError(f"needs a protocol that has ports: {', '.join(sorted(WITH_PORTS))}")
        return value


def _version(addresses: str) -> int:
    return 6 if ":" in addresses else 4


Rules = Annotated[list[FirewallRule], Field(max_length=MAX_RULES)]


class Firewall(Shape):
    """A server's firewall, as a whole. The server's own rules come first, then those of the rulesets in their order."""

    enabled: bool = False
    """Whether rules and policies count. Anti-spoofing does not depend on it."""
    policy_in: Verdict = Field(default=Verdict.ACCEPT, strict=False)
    """What becomes of what reaches the server and no rule matches."""
    policy_out: Verdict = Field(default=Verdict.ACCEPT, strict=False)
    rules: Rules = []
    rulesets: Annotated[list[Id], Field(max_length=MAX_RULESETS)] = []
    """Ids of the rulesets that apply too."""

    @field_validator("rulesets")
    @classmethod
    def _each_once(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("must not name a ruleset twice")
        return value


class FirewallView(View):
    """A server's firewall, as it is wanted: what a change takes."""

    enabled: bool
    policy_in: Verdict
    policy_out: Verdict
    rules: list[FirewallRule]
    rulesets: list[int]


class RulesetSpec(Shape):
    """A named list of rules that servers can apply."""

    name: ShortText
    description: Annotated[str, Field(max_length=1024), AfterValidator(_comment)] = ""
    rules: Rules = []


class RulesetChange(Change):
    """A change of a ruleset. Servers that apply it have it when they are configured next, or with `…/apply`."""

    name: ShortText | None = None
    description: Annotated[str, Field(max_length=1024), AfterValidator(_comment)] | None = None
    rules: Rules | None = None
    """All rules."""


class ClientRulesetView(View):
    """A ruleset that can be applied."""

    id: int
    name: str
    description: str
    rules: list[FirewallRule]
    updated_at: datetime


class RulesetView(ClientRulesetView):
    """A ruleset, and how many servers apply it."""

    servers: int
    outdated_servers: int
    """Those that do not have its present rules yet."""
    created_at: datetime


class RulesetServer(View):
    """A server that applies a ruleset."""

    id: UUID
    name: str
    owner_id: int
    outdated: bool
    """It does not have the ruleset's present rules yet."""


class ApplyRequest(Shape):
    """Which servers get a ruleset's present rules."""

    only_outdated: bool = True
    """False: also those that should have them already."""
    after: UUID | None = None
    """Only servers behind this one, by id: `next_after` of the answer before."""


class NotApplied(View):
    """A server that was left out, and why: `locked`, `conflict` or `rate_limit_exceeded`."""

    server_id: UUID
    name: str
    code: str
    message: str
