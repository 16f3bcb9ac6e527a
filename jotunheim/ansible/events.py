"""What ansible-runner reports, as far as jobs care: tasks that begin and end, per host."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jotunheim import bounded

MASK = "********"
SHORTEST_MASKED = 6
DIFF_CHARACTERS = 64 * 1024
"""The most that is kept of a step's differences."""
_NAME_CHARACTERS = 200
_ENDS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "failed",
    "runner_on_skipped": "skipped",
}
# Ansible's own check of a role's arguments; a step of the machinery, not of the job.
_HIDDEN_ACTIONS = {"ansible.builtin.validate_argument_spec", "validate_argument_spec"}


class Kind(StrEnum):
    """What happened to a task on a host."""

    STARTED = "started"
    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class TaskEvent:
    """A task that began or ended on one host."""

    kind: Kind
    host: str
    task: str
    """The task's name, without its role."""
    action: str
    hidden: bool
    """It is no step that a person would want to see, unless it fails."""
    changed: bool = False
    diff: list[dict[str, Any]] | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


def translate(event: Mapping[str, Any], secrets: Collection[str]) -> TaskEvent | None:
    """The task event in one event of ansible-runner; None when it is about something else.

    It is bounded and storable, whatever a plugin returned.

    Args:
        secrets: values that must not appear in the result, whatever a plugin did: they are masked.
    """
    data = event.get("event_data") or {}
    name = event.get("event", "")
    host = data.get("host")
    if not host or (name != "runner_on_start" and name not in _ENDS):
        return None
    action = data.get("task_action", "")
    task = bounded.text(str(data.get("task", "")), _NAME_CHARACTERS)
    hidden = action in _HIDDEN_ACTIONS
    if name == "runner_on_start":
        return TaskEvent(Kind.STARTED, host, task, action, hidden)
    # Ansible's process bounds results too. Twice its limit, so that nothing is cut twice.
    result = masked(bounded.bounded(data.get("res") or {}, 2 * bounded.RESULT_CHARACTERS), secrets)
    diff = bounded.bounded(result.get("diff"), DIFF_CHARACTERS)
    return TaskEvent(
        kind=Kind(_ENDS[name]),
        host=host,
        task=task,
        action=action,
        hidden=hidden,
        changed=bool(result.get("changed", False)),
        diff=_differences(diff),
        result=result,
    )


def _differences(diff: Any) -> list[dict[str, Any]] | None:
    entries = diff if isinstance(diff, list) else [diff]
    return [entry for entry in entries if isinstance(entry, dict)] or None


def masked(value: Any, secrets: Collection[str]) -> Any:
    """A JSON-like value in which these secrets are replaced, wherever they stand."""
    match value:
        case str():
            for secret in secrets:
                # Shorter ones would mask half of every message; nobody generates such.
                if len(secret) >= SHORTEST_MASKED:
                    value = _without_a_beginning(value.replace(secret, MASK), secret)
            return value
        case dict():
            return {key: masked(item, secrets) for key, item in value.items()}
        case list() | tuple():
            return [masked(item, secrets) for item in value]
        case _:
            return value


def _without_a_beginning(value: str, secret: str) -> str:
    """A text that was cut in the middle of a secret, without the secret's beginning."""
    end = value.rfind(bounded.MARK)
    for length in range(len(secret) - 1, 0, -1) if end >= 0 else ():
        if value.endswith(secret[:length], 0, end):
            return value[: end - length] + MASK + value[end:]
    return value
