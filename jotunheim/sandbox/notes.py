"""The notes of a backup from their template, as vzdump makes them."""

import re
from collections.abc import Mapping


def from_template(template: str, values: Mapping[str, str]) -> str:
    r"""`{{guestname}}\n` with its variables and escapes (`\n`, `\\`) replaced.

    Raises:
        ValueError: another escape or variable, in vzdump's words.
    """
    text = re.sub(r"\\(.)", lambda found: _unescaped(found[1]), template)
    known = "|".join(values)
    text = re.sub(r"\{\{(" + known + r")\}\}", lambda found: values[found[1]], text)
    unknown = re.search(r"\{\{([^\s}]+)\}\}", text)
    if unknown:
        raise ValueError(f"unexpected variable name '{unknown[1]}'")
    return text


def _unescaped(char: str) -> str:
    if char not in ("\\", "n"):
        raise ValueError(f"unexpected escape character '{char}'")
    return "\\" if char == "\\" else "\n"
