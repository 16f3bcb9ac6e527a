"""PVE's parameter verification: all bad parameters at once, in PVE 8.4's words.

Own implementation of the rules of PVE's JSON schema dialect (types, formats, property strings, limits)
on the schema data that `pve84` provides. It knows nothing of what a request does.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from fakepve import formats

from jotunheim.sandbox import formats84, pve84
from jotunheim.sandbox.pve84 import Spec

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"
TRUE = ("1", "on", "yes", "true")
LARGEST, MANY_DIGITS = 2**63 - 1, 4000
"""No number is larger, however it is written; Python refuses to read more digits."""
FALSE = ("0", "off", "no", "false")


def verify(parameters: Spec, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Check the values of a request.

    Args:
        parameters: a method's `parameters` of the schema.
        values: what was sent: strings from a form or query, any JSON value from a JSON body.

    Returns:
        The values in their types (booleans are 0 or 1), and PVE's message for each bad parameter.
    """
    properties = parameters.get("properties") or {}
    errors: dict[str, str] = {}
    checked = _object(properties, values, "", errors, closed=not parameters.get("additionalProperties", 1))
    return checked, errors


def parse_property_string(spec: Mapping[str, Spec], text: str, path: str = "") -> dict[str, str]:
    """`virtio=BC:…,bridge=vmbr0` -> {"model": "virtio", "macaddr": "BC:…", "bridge": "vmbr0"}.

    Raises:
        ValueError: PVE's message, when the text breaks the format.
    """
    found: dict[str, str] = {}
    bare = False
    default = next((key for key, entry in spec.items() if entry.get("default_key")), None)
    for part in text.split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if equals and key and value:
            if key in found:
                raise ValueError(f"duplicate key in comma-separated list property: {key}\n")
            entry = spec.get(key, {})
            if "alias" in entry:
                if "keyAlias" in entry:
                    if entry["keyAlias"] in found:
                        raise ValueError(f"key alias '{entry['keyAlias']}' is already defined\n")
                    found[entry["keyAlias"]] = key
                key = entry["alias"]
            found[key] = _boolean_text(spec.get(key, {}), value)
        elif equals:
            raise ValueError("missing key in comma-separated list property\n")
        elif default is None:
            raise ValueError("value without key, but schema does not define a default key\n")
        elif bare or default in found:
            raise ValueError(f"duplicate key in comma-separated list property: {default}\n")
        else:
            bare = True
            found[default] = _boolean_text(spec[default], part)
    errors: dict[str, str] = {}
    _object({k: v for k, v in spec.items() if "alias" not in v}, found, path, errors, closed=True)
    if errors:
        raise ValueError("format error\n" + "".join(f"{name}: {why}\n" for name, why in errors.items()))
    return found


def _boolean_text(spec: Spec, text: str) -> str:
    """Property strings spell booleans in more ways than parameters do."""
    if spec.get("type") != "boolean":
        return text
    return "1" if text.lower() in TRUE else "0" if text.lower() in FALSE else text


def _object(
    properties: Mapping[str, Spec], values: Mapping[str, Any], path: str, errors: dict[str, str], closed: bool
) -> dict[str, Any]:
    """PVE's `check_object`: every value against its schema, then what is missing."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{path}.{name}" if path else name
        spec = pve84.option(properties, name)
        if spec is None:
            if closed:
                errors[where] = UNKNOWN
            else:
                checked[name] = value
            continue
        checked[name] = _value(spec, value, where, errors)
        needed = spec.get("requires")
        if needed and needed not in values:
            errors[f"{path}.{needed}" if path else needed] = (
                f"missing property - '{where}' requires this property"
            )
    for name, spec in properties.items():
        if not spec.get("optional") and name not in values and "[n]" not in name:
            errors.setdefault(f"{path}.{name}" if path else name, MISSING)
    return checked


def _value(spec: Spec, value: Any, path: str, errors: dict[str, str]) -> Any:
    """PVE's `check_prop`. Returns the value in its type; notes at most one error under its path."""
    kind = spec.get("type")
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        return [_value(spec.get("items") or {}, item, f"{path}[{n}]", errors) for n, item in enumerate(items)]
    if isinstance(value, list | dict):
        got = "ARRAY" if isinstance(value, list) else "HASH"
        errors[path] = f"type check ('{kind or 'string'}') failed - got '{got}'"
        return value
    text = ("1" if value else "0") if isinstance(value, bool) else "" if value is None else str(value)
    typed = _typed(kind, text)
    why = f"type check ('{kind}') failed - got '{text}'" if typed is None else None
    why = why or _format_error(spec, text, path) or _limit_error(spec, typed)
    if why:
        errors[path] = why
    return value if typed is None else typed


def _typed(kind: str | None, text: str) -> str | int | float | None:
    """The text as the type, or None if it is not one."""
    match kind:
        case "integer":
            if not re.fullmatch(r"[+-]?\d+", text, re.A):
                return None
            return max(-LARGEST, min(LARGEST, int(text[:MANY_DIGITS])))
        case "number":
            if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.A):
                return None
            number = max(-float(LARGEST), min(float(LARGEST), float(text)))
            return int(number) if number.is_integer() else number
        case "boolean":
            return int(text) if text in ("0", "1") else None
    return text


def _format_error(spec: Spec, text: str, path: str) -> str | None:
    declared = spec.get("format")
    if not declared:
        return None
    sub = declared if isinstance(declared, dict) else formats84.PROPERTY_STRINGS.get(declared)
    if declared == "pve-qm-ide":
        sub = pve84.config_properties()["ide[n]"]["format"]
    if sub is not None:
        try:
            parse_property_string(sub, text, path)
        except ValueError as error:
            return f"invalid format - {error}"
        return None
    why = _named_error(declared, text)
    return f"invalid format - {why}\n" if why else None


def _named_error(name: str, text: str) -> str | None:
    own = formats84.NAMED_FORMATS.get(name.removesuffix("-list"))
    if own is None:
        checked: str | None = formats.check(name, text)
        return checked
    parts = formats.split_list(text) if name.endswith("-list") else [text]
    return next((why for part in parts if (why := own(part))), None)


@functools.lru_cache(maxsize=512)
def _pattern(source: str) -> re.Pattern[str]:
    python = re.sub(r"\(\?\^([a-z]*):", r"(?\1:", source)  # Perl's way to print a compiled pattern
    return re.compile(f"(?:{python})", re.A)


def _limit_error(spec: Spec, value: str | int | float | None) -> str | None:
    """Patterns, lengths, ranges and enumerations, in PVE's order."""
    if isinstance(value, str):
        if "pattern" in spec and not _pattern(spec["pattern"]).fullmatch(value):
            return "value does not match the regex pattern"
        if "maxLength" in spec and len(value) > spec["maxLength"]:
            return f"value may only be {spec['maxLength']} characters long"
        if "minLength" in spec and len(value) < spec["minLength"]:
            return f"value must be at least {spec['minLength']} characters long"
    elif value is not None:
        if "maximum" in spec and value > float(spec["maximum"]):
            return f"value must have a maximum value of {spec['maximum']}"
        if "minimum" in spec and value < float(spec["minimum"]):
            return f"value must have a minimum value of {spec['minimum']}"
    if "enum" in spec and str(value) not in [str(allowed) for allowed in spec["enum"]]:
        listed = ", ".join(str(allowed) for allowed in spec["enum"])
        return f"value '{value}' does not have a value in the enumeration '{listed}'"
    return None
