"""What is different between two states of a thing."""

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two documents do not share, each with its own values; objects are compared field by field."""
    was: dict[str, Any] = {}
    became: dict[str, Any] = {}
    for name in [*before, *(name for name in after if name not in before)]:
        one, other = before.get(name), after.get(name)
        if name in before and name in after and one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            was[name], became[name] = differences(one, other)
            continue
        if name in before:
            was[name] = one
        if name in after:
            became[name] = other
    return was, became
