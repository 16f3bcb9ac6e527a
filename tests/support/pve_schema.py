"""Whether a request is one that Proxmox VE's own API schema allows.

Reads PVE's published schema and checks with `jsonschema`. It shares no code with the sandbox's validator, so
that a mistake there is not repeated here. A format that this module does not know is a problem too: nothing
passes because it was not looked at.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema
from fakepve import schema as pve_schema

Spec = Mapping[str, Any]

PROPERTY_STRINGS: dict[str, dict[str, dict[str, Any]]] = {
    "pve-qm-ipconfig": {
        name: {"type": "string", "optional": 1, "format": kind}
        for name, kind in {"ip": "ip-config", "gw": "ip", "ip6": "ip-config", "gw6": "ip"}.items()
    },
    "pve-qm-smbios1": {
        "uuid": {"type": "string", "optional": 1, "format": "uuid"},
        "base64": {"type": "boolean", "optional": 1},
        **{
            name: {"type": "string", "optional": 1}
            for name in ("manufacturer", "product", "version", "serial", "sku", "family")
        },
    },
    "pve-qm-boot": {
        "legacy": {"type": "string", "optional": 1, "default_key": 1, "pattern": "[acdn]{1,4}"},
        "order": {"type": "string", "optional": 1, "pattern": r"\w+(;\w+)*"},
    },
    "pve-vm-cpu-conf": {
        "cputype": {"type": "string", "optional": 1, "default_key": 1, "pattern": r"(custom-)?[\w-]+"},
        "flags": {"type": "string", "optional": 1, "pattern": r"[+-][\w-]+(;[+-][\w-]+)*"},
        "hidden": {"type": "boolean", "optional": 1},
        "phys-bits": {"type": "string", "optional": 1, "pattern": r"host|\d+"},
    },
}
"""Property strings that the schema names and does not describe, from `man qm`."""

ADDRESS = r"(\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)"
VOLUME = r"[a-zA-Z][\w.-]*[a-zA-Z0-9]:\S+"
FORMATS = {
    "ip": ADDRESS,
    "address": ADDRESS,
    "ip-config": rf"dhcp|auto|{ADDRESS}/\d{{1,3}}",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "mac-addr": r"[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}",
    "dns-name": r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?",
    "disk-size": r"\d+(\.\d+)?[KMGT]?",
    "IPorCIDRorAlias": rf"{ADDRESS}(/\d{{1,3}})?",
    "pve-fw-addr-spec": rf"{ADDRESS}(-{ADDRESS}|(/\d{{1,3}})?(,{ADDRESS}(/\d{{1,3}})?)*)",
    "pve-fw-dport-spec": r"\d{1,5}(:\d{1,5})?(,\d{1,5}(:\d{1,5})?)*",
    "pve-fw-sport-spec": r"\d{1,5}(:\d{1,5})?(,\d{1,5}(:\d{1,5})?)*",
    "pve-fw-protocol-spec": r"[a-z0-9-]+",
    "pve-fw-comment-spec": r"[^\x00-\x1f]*",
    "pve-node": r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?",
    "pve-vmid": r"[1-9]\d{2,8}",
    "pve-storage-id": r"[a-zA-Z][\w.-]*[a-zA-Z0-9]",
    "pve-storage-content": r"[a-z]+",
    "pve-volume-id-or-absolute-path": rf"{VOLUME}|/\S+",
    "pve-bridge-id": r"[a-zA-Z0-9][\w.-]*",
    "pve-configid": r"[a-zA-Z][\w-]+",
    "pve-poolid": r"[\w.-]+(/[\w.-]+)*",
    "pve-tag": r"[a-z0-9_][a-z0-9_.+-]*",
    "pve-task-status-type": r"ok|error|warning|unknown",
    "pve-volume-id": VOLUME,
    "pve-volume-id-or-qm-path": rf"none|cdrom|/\S+|{VOLUME}",
    "urlencoded": r"[-%a-zA-Z0-9_.!~*'()]*",
}
TAKES_SLASHES = ("{volume}", "{cidr}")


def problems(method: str, path: str, params: Mapping[str, Any]) -> list[str]:
    """What PVE's schema has against a request; empty when it allows it.

    Args:
        method: HTTP method.
        path: below `/api2/json`, e.g. `/nodes/pve1/qemu/100/config`.
        params: query or form parameters, as they were sent.
    """
    found = _route(method, path)
    if found is None:
        return [f"{method} {path}: the schema has no such method"]
    parameters, in_path = found
    properties = parameters.get("properties") or {}
    values = {**in_path, **params}
    return [f"{method} {path}: {problem}" for problem in _object(properties, values, "")]


@functools.cache
def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = pve_schema.load().paths
    return paths


@functools.cache
def _routes(method: str) -> list[tuple[re.Pattern[str], Spec]]:
    """The schema's paths with this method, the most literal first."""
    templates = sorted(
        (path for path, methods in _paths().items() if method in methods),
        key=lambda path: len(re.sub(r"\{[^}]*\}", "", path)),
        reverse=True,
    )
    return [(_pattern(path), _paths()[path][method].get("parameters") or {}) for path in templates]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]*\})", template)
    return re.compile(
        "".join(
            f"(?P<{part[1:-1].replace('-', '_')}>{'.+' if part in TAKES_SLASHES else '[^/]+'})"
            if part.startswith("{")
            else re.escape(part)
            for part in parts
        )
    )


def _route(method: str, path: str) -> tuple[Spec, dict[str, str]] | None:
    for pattern, parameters in _routes(method):
        if match := pattern.fullmatch(path):
            names = parameters.get("properties") or {}
            in_path = match.groupdict()
            return parameters, {
                name: in_path[key] for name in names if (key := name.replace("-", "_")) in in_path
            }
    return None


_MASKED = "**********"
"""What the sandbox's log shows of secrets, and of all parameters with the names of such."""


def _object(properties: Spec, values: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, value in values.items():
        spec = properties.get(name) or properties.get(re.sub(r"\d+$", "[n]", name))
        if spec is None:
            yield f"{where}{name}: unknown parameter"
        elif spec.get("type") == "array":
            for item in value if isinstance(value, list) else [value]:
                yield from _value(spec.get("items") or {}, item, f"{where}{name}")
        else:
            yield from _value(spec, value, f"{where}{name}")
    for name, spec in properties.items():
        if not spec.get("optional") and "alias" not in spec and name not in values and "[n]" not in name:
            yield f"{where}{name}: required and missing"


def _value(spec: Spec, value: Any, where: str) -> Iterator[str]:
    if value == _MASKED:
        return
    rules = {
        name: spec[name] for name in ("minimum", "maximum", "minLength", "maxLength", "enum") if name in spec
    }
    if "pattern" in spec:
        rules["pattern"] = "^(?:" + re.sub(r"\(\?\^([a-z]*):", r"(?\1:", spec["pattern"]) + ")$"
    typed = _typed(spec.get("type", "string"), value)
    schema = {"type": spec.get("type", "string"), **rules}
    for error in jsonschema.Draft202012Validator(schema).iter_errors(typed):
        yield f"{where}: {error.message}"
    named = spec.get("format")
    if named is not None and isinstance(value, str):
        yield from _format(named, value, where)


def _typed(kind: str, value: Any) -> Any:
    """A form's text as the schema's type; what cannot be converted stays text and so fails."""
    text = str(value)
    match kind:
        case "boolean" if text in ("0", "1"):
            return text == "1"
        case "integer" if re.fullmatch(r"-?\d+", text):
            return int(text)
        case "number" if re.fullmatch(r"-?\d+(\.\d+)?", text):
            return float(text)
        case "string":
            return text
    return value


def _format(named: str | Spec, text: str, where: str) -> Iterator[str]:
    if isinstance(named, str) and named in PROPERTY_STRINGS:
        named = PROPERTY_STRINGS[named]
    if named == "pve-qm-ide":
        named = _paths()["/nodes/{node}/qemu/{vmid}/config"]["POST"]["parameters"]["properties"]["ide[n]"][
            "format"
        ]
    if not isinstance(named, str):
        yield from _property_string(named, text, where)
        return
    single = named.removesuffix("-list")
    if single not in FORMATS:
        yield f"{where}: its format, {named}, is not known to this check"
        return
    for part in re.split(r"[,; ]+", text) if named != single else [text]:
        if not re.fullmatch(FORMATS[single], part):
            yield f"{where}: {part!r} is no {single}"


def _property_string(spec: Spec, text: str, where: str) -> Iterator[str]:
    """`virtio=BC:24:11:…,bridge=vmbr0`: the parts are checked as an object's members."""
    values: dict[str, str] = {}
    default = next((name for name, entry in spec.items() if entry.get("default_key")), None)
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = default or "", part
        entry = spec.get(name, {})
        if "keyAlias" in entry:
            values[entry["keyAlias"]] = name
        name = entry.get("alias", name)
        if name in values:
            yield f"{where}.{name}: given twice"
        values[name] = value
    yield from _object(
        {name: entry for name, entry in spec.items() if "alias" not in entry}, values, f"{where}."
    )


def assert_lawful(entries: Iterable[Mapping[str, Any]]) -> None:
    """Fail, and name every problem, if our client sent what PVE's schema does not allow."""
    found = problems_of_log(entries)
    assert not found, "PVE would refuse:\n" + "\n".join(found)


def problems_of_log(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Problems of all requests in a sandbox's log that came from our client, each named once.

    Left out are requests that a fault struck or that were refused for their credentials: the log has no
    parameters of these.
    """
    return sorted(
        {
            problem
            for entry in ours(entries)
            for problem in problems(entry["method"], entry["path"], entry["params"])
        }
    )


def ours(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The log's requests that our client sent, with their parameters."""
    for entry in entries:
        if (entry["user_agent"] or "").startswith("jotunheim/") and entry["user"] and entry["fault"] is None:
            yield entry
