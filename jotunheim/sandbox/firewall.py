"""A VM's firewall file: options, rules, aliases, references. IP sets are in `ipsets`.

The file needs no VM: PVE reads an empty one for an id that does not exist.
"""

import hashlib
import ipaddress
from typing import Any

from fakepve.formats import split_list

from jotunheim.data.server.firewall_names import MACROS
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_parameters, bad_params, failure
from jotunheim.sandbox.state import Firewall

routes = Routes()

OPTIONS = [
    "dhcp",
    "enable",
    "ipfilter",
    "log_level_in",
    "log_level_out",
    "macfilter",
    "ndp",
    "policy_in",
    "policy_out",
    "radv",
]
TEXT_OPTIONS = ("log_level_in", "log_level_out", "policy_in", "policy_out")
RULE_FIELDS = [
    "action",
    "comment",
    "dest",
    "dport",
    "enable",
    "icmp-type",
    "iface",
    "log",
    "macro",
    "proto",
    "source",
    "sport",
    "type",
]


def firewall_of(call: Call) -> Firewall:
    """The firewall file of the path's VM; kept once something is written to it."""
    return call.world.state.firewalls.get(call.vmid, Firewall())


def writable(call: Call) -> Firewall:
    """The firewall file, to change it; refuses a stale digest."""
    file = call.world.state.firewalls.setdefault(call.vmid, Firewall())
    expected = call.get("digest")
    if expected and expected != digest(file):
        raise failure("detected modified configuration - file changed by other user? Try again.")
    return file


def digest(file: Firewall) -> str:
    """The SHA-1 of the file."""
    return hashlib.sha1(repr(file).encode(), usedforsecurity=False).hexdigest()


@routes("GET", "/cluster/firewall/options")
async def cluster_options(_call: Call) -> dict[str, Any]:
    """The datacenter's options: as after an installation nothing is set, so its firewall is off."""
    return {"digest": hashlib.sha1(b"", usedforsecurity=False).hexdigest()}


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall")
async def index(_call: Call) -> list[dict[str, str]]:
    """The folders below the firewall."""
    return [{"name": name} for name in ("rules", "aliases", "ipset", "refs", "options")]


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall/options")
async def options(call: Call) -> dict[str, Any]:
    """The options that are set."""
    file = firewall_of(call)
    shown = {name: v if name in TEXT_OPTIONS else int(v) for name, v in file.options.items()}
    return shown | {"digest": digest(file)}


@routes("PUT", "/nodes/{node}/qemu/{vmid}/firewall/options")
async def set_options(call: Call) -> None:
    """Set or delete options."""
    deleted = split_list(str(call.get("delete", "")))
    for name in deleted:
        if name not in OPTIONS:
            raise bad_params(delete=f"no such option '{name}'")
    file = writable(call)
    for name in deleted:
        file.options.pop(name, None)
    file.options |= {name: str(call.params[name]) for name in OPTIONS if name in call.params}


def _shown_rule(file: Firewall, position: int) -> dict[str, Any]:
    rule = file.rules[position]
    data = {"pos": position, "digest": digest(file), **rule}
    version = _version(str(rule.get("source", ""))) or _version(str(rule.get("dest", "")))
    return data | ({"ipversion": version} if version else {})


def _version(addresses: str) -> int | None:
    first = addresses.split(",")[0]
    try:
        if "-" in first:
            return ipaddress.ip_address(first.partition("-")[0]).version
        return ipaddress.ip_network(first, strict=False).version
    except ValueError:
        return None


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall/rules")
async def rules(call: Call) -> list[dict[str, Any]]:
    """All rules in their order."""
    file = firewall_of(call)
    return [_shown_rule(file, position) for position in range(len(file.rules))]


def _position(call: Call, file: Firewall) -> int:
    position = int(call.params["pos"])
    if position >= len(file.rules):
        raise failure(f"no rule at position {position}")
    return position


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}")
async def rule(call: Call) -> dict[str, Any]:
    """One rule; its position is a string here."""
    file = firewall_of(call)
    position = _position(call, file)
    return _shown_rule(file, position) | {"pos": str(position)}


@routes("POST", "/nodes/{node}/qemu/{vmid}/firewall/rules")
async def add_rule(call: Call) -> None:
    """Add a rule before all others, whatever position is asked for."""
    file = writable(call)
    new: dict[str, Any] = {"enable": 0} | {n: call.params[n] for n in RULE_FIELDS if n in call.params}
    _check_rule(call, file, new)
    file.rules.insert(0, new)


def _check_rule(call: Call, file: Firewall, changed: dict[str, Any]) -> None:
    errors: dict[str, str] = {}
    for name in ("dport", "sport"):
        if name in changed and "proto" not in changed and "macro" not in changed:
            errors["proto"] = f"missing property - '{name}' requires this property"
    macro = changed.get("macro")
    if macro and macro not in MACROS:
        errors["macro"] = f"unknown macro '{macro}'"
    for name in ("source", "dest"):
        why = _reference_error(call, file, str(changed.get(name, "")))
        if why:
            errors[name] = why
    if errors:
        raise bad_parameters(errors)


def _reference_error(_call: Call, file: Firewall, text: str) -> str | None:
    if text.startswith("+"):
        name = text[1:].removeprefix("guest/")
        return None if name in file.ipsets else f"no such ipset '{name}'"
    if text and text[0].isalpha() and ":" not in text:
        name = text.removeprefix("guest/")
        return None if name.lower() in file.aliases else f"no such alias '{name}'"
    return None


@routes("PUT", "/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}")
async def change_rule(call: Call) -> None:
    """Change a rule, or move it before another."""
    file = writable(call)
    position = _position(call, file)
    target = call.get("moveto")
    if target is not None:
        moved = file.rules.pop(position)
        file.rules.insert(target - (1 if target > position else 0), moved)
        return
    changed = file.rules[position] | {n: call.params[n] for n in RULE_FIELDS if n in call.params}
    for name in split_list(str(call.get("delete", ""))):
        changed.pop(name, None)
    _check_rule(call, file, changed)
    file.rules[position] = changed


@routes("DELETE", "/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}")
async def delete_rule(call: Call) -> None:
    """Delete a rule."""
    file = writable(call)
    del file.rules[_position(call, file)]


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall/aliases")
async def aliases(call: Call) -> list[dict[str, Any]]:
    """All aliases."""
    file = firewall_of(call)
    return [_shown_alias(name, alias) | {"digest": digest(file)} for name, alias in file.aliases.items()]


def _shown_alias(_name: str, alias: dict[str, str]) -> dict[str, Any]:
    version = _version(alias["cidr"])
    return {**alias, "ipversion": version}


def _alias(call: Call, file: Firewall) -> str:
    name = str(call.params["name"]).lower()
    if name not in file.aliases:
        raise bad_params(name="no such alias")
    return name


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall/aliases/{name}")
async def alias(call: Call) -> dict[str, Any]:
    """One alias."""
    file = firewall_of(call)
    name = _alias(call, file)
    return _shown_alias(name, file.aliases[name])


@routes("POST", "/nodes/{node}/qemu/{vmid}/firewall/aliases")
async def add_alias(call: Call) -> None:
    """Add an alias."""
    file, name = writable(call), str(call.params["name"])
    if name.lower() in file.aliases:
        raise bad_params(name=f"alias '{name}' already exists")
    file.aliases[name.lower()] = _alias_data(call, name)


def _alias_data(call: Call, name: str) -> dict[str, str]:
    data = {"name": name, "cidr": str(call.params["cidr"])}
    return data | ({"comment": call.params["comment"]} if call.get("comment") else {})


@routes("PUT", "/nodes/{node}/qemu/{vmid}/firewall/aliases/{name}")
async def change_alias(call: Call) -> None:
    """Change an alias, or rename it."""
    file = writable(call)
    name = _alias(call, file)
    new = str(call.get("rename", file.aliases[name]["name"]))
    if new.lower() != name and new.lower() in file.aliases:
        raise bad_params(rename=f"alias '{new}' already exists")
    del file.aliases[name]
    file.aliases[new.lower()] = _alias_data(call, new)


@routes("DELETE", "/nodes/{node}/qemu/{vmid}/firewall/aliases/{name}")
async def delete_alias(call: Call) -> None:
    """Delete an alias."""
    file = writable(call)
    del file.aliases[_alias(call, file)]


@routes("GET", "/nodes/{node}/qemu/{vmid}/firewall/refs")
async def references(call: Call) -> list[dict[str, Any]]:
    """What a rule's source or destination may refer to."""
    file, wanted = firewall_of(call), call.get("type")
    listed: list[dict[str, Any]] = []
    if wanted in (None, "alias"):
        listed += [
            {"name": a["name"], "ref": a["name"], "scope": "guest", "type": "alias"}
            | ({"comment": a["comment"]} if "comment" in a else {})
            for a in file.aliases.values()
        ]
    if wanted in (None, "ipset"):
        listed += [
            {"name": name, "ref": f"+{name}", "scope": "guest", "type": "ipset"}
            | ({"comment": found.comment} if found.comment else {})
            for name, found in file.ipsets.items()
        ]
    return listed
