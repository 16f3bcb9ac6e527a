"""From servers, as the API shows them, to hosts and groups of an inventory whose names are safe whatever their owners typed."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

PREFIX = "jotunheim_"
"""What the variables of a host begin with; the rest is the field's name in the API."""
GROUPS = ("location", "node", "template", "owner", "label", "status")
HOSTNAMES = ("name", "hostname", "id", "vmid", "external_id", "ipv4", "ipv6")
LABEL = "label:"
"""Begins a preference that names a label."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


def facts(server: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a server's host. None of its texts is a template, since none is marked as one.

    `ansible_host` is its first address; without one, a name that leads nowhere: its own is its owner's choice.
    """
    found = {name: value for field, value in server.items() if (name := _variable(field))}
    addresses = server.get("addresses") or [{"address": f"{server['id']}.invalid"}]
    return found | {"ansible_host": addresses[0]["address"]}


@cache
def _variable(field: str) -> str | None:
    return PREFIX + field if field.isidentifier() and field.isascii() else None


def host_names(
    servers: Sequence[Mapping[str, Any]], preferences: Sequence[str], taken: Mapping[str, str | None]
) -> list[str]:
    """A name for each server: of its preferences the first one that it has and that can be a host's name.

    A name that several servers have, or that is taken, gets the server's id: `web-1_5f0c2a54-…`. Nobody can choose such a
    name, for it has an underscore.

    Args:
        preferences: of `HOSTNAMES`, or `label:KEY`.
        taken: names that mean something else already, with the id of the server that they are of, if they are one's.
    """
    chosen = [_chosen(server, preferences) for server in servers]
    counts = Counter(chosen)

    def final(server: Mapping[str, Any], name: str | None) -> str:
        if name is not None and counts[name] == 1 and taken.get(name, server["id"]) == server["id"]:
            return name
        return f"{name or 'server'}_{server['id']}"

    return [final(server, name) for server, name in zip(servers, chosen, strict=True)]


@cache
def group_name(kind: str, *values: str) -> str:
    """The name of a group: all but letters, digits and underscores becomes an underscore, as in `label_env_ci`."""
    return "_".join([kind, *(_UNSAFE.sub("_", value) for value in values if value)])


def memberships(server: Mapping[str, Any], kinds: Collection[str]) -> Iterator[tuple[str, str]]:
    """The groups of a server, each with what it stands for, as a person would say it.

    Args:
        kinds: which of `GROUPS`. What the API does not show, as nodes to owners, makes no group.
    """
    for kind, value in _places(server):
        if kind in kinds and value is not None:
            yield group_name(kind, str(value)), f"{kind} {value}"
    if "label" in kinds:
        for key, value in (server.get("labels") or {}).items():
            yield group_name("label", key, value), f"label {key}={value}"


def ambiguous(groups: Mapping[str, Collection[str]]) -> list[str]:
    """Of groups that stand for several things, what each stands for."""
    return [f"{name} ({', '.join(sorted(said))})" for name, said in sorted(groups.items()) if len(said) > 1]


def grouped(
    servers: Sequence[Mapping[str, Any]], names: Sequence[str], kinds: Collection[str]
) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """The hosts of each group, and what each group stands for."""
    hosts: dict[str, list[str]] = defaultdict(list)
    said: dict[str, set[str]] = defaultdict(set)
    for server, name in zip(servers, names, strict=True):
        for group, meaning in memberships(server, kinds):
            hosts[group].append(name)
            said[group].add(meaning)
    return hosts, said


def _places(server: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "location", (server.get("location") or {}).get("short_code")
    yield "node", (server.get("node") or {}).get("name")
    yield "template", (server.get("template") or {}).get("name")
    yield "owner", server.get("owner_id")
    yield "status", server.get("status")


def _chosen(server: Mapping[str, Any], preferences: Sequence[str]) -> str | None:
    for preference in preferences:
        value = _preferred(server, preference)
        if value and _can_be_host(value):
            return value
    return None


def _preferred(server: Mapping[str, Any], preference: str) -> str | None:
    if preference.startswith(LABEL):
        return (server.get("labels") or {}).get(preference.removeprefix(LABEL))
    if preference in ("ipv4", "ipv6"):
        addresses = server.get("addresses") or []
        return next((one["address"] for one in addresses if one["family"] == preference), None)
    value = server.get(preference)
    return None if value is None else str(value)


def _can_be_host(text: str) -> bool:
    if _HOST.fullmatch(text):
        return True
    try:
        return bool(ipaddress.ip_address(text)) and "%" not in text  # behind it any text may stand
    except ValueError:
        return False
