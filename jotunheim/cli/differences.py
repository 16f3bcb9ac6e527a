"""Shows the differences that the steps of a job made, or in a preview would make."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jotunheim.cli.output import Document, print_lines, size


def print_differences(job: Document) -> None:
    """Print a job's differences, step by step; of a preview also that there are none."""
    found = list(_of_steps(job["steps"]))
    if found:
        print_lines(["", "What would change:" if job["check"] else "What changed:", *found])
    elif job["check"]:
        print_lines(["", "Nothing would change."])


def _of_steps(steps: list[Document]) -> Iterator[str]:
    for step in steps:
        lines = [line for diff in step["diff"] or [] for line in difference_lines(diff)]
        if step["changed"] or lines:
            yield f"  {step['name']}"
            yield from (f"    {line}" for line in lines)


def difference_lines(diff: Mapping[str, Any]) -> Iterator[str]:
    """One of Ansible's differences: of settings by name, or of texts."""
    before, after = diff.get("before"), diff.get("after")
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            yield f"{name}: {_value(before.get(name), name)} → {_value(after.get(name), name)}"
    elif "prepared" in diff:
        yield from str(diff["prepared"]).splitlines()
    elif before or after:
        yield f"{_value(before)} → {_value(after)}"


def _value(value: Any, name: str = "") -> str:
    match value:
        case None | "":
            return "-"
        case str():
            return value
        case int() if name.endswith("_bytes"):
            return str(size(value))
        case _:
            return json.dumps(value, ensure_ascii=False)
