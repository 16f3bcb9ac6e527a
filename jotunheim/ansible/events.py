"""What ansible-runner reports, as far as jobs care: tasks that begin and end, per host."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MASK = "********"
SHORTEST_MASKED = 6
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

    Args:
        secrets: values that must not appear in the result, whatever a plugin did: they are masked.
    """
    data = event.get("event_data") or {}
    name = event.get("event", "")
    host = data.get("host")
    if not host or (name != "runner_on_start" and name not in _ENDS):
        return None
    action = data.get("task_action", "")
    task = str(data.get("task", ""))
    hidden = action in _HIDDEN_ACTIONS
    if name == "runner_on_start":
        return TaskEvent(Kind.STARTED, host, task, action, hidden)
    result = masked(data.get("res") or {}, secrets)
    diff = result.get("diff")
    return TaskEvent(
        kind=Kind(_ENDS[name]),
        host=host,
        task=task,
        action=action,
        hidden=hidden,
        changed=bool(result.get("changed", False)),
        diff=[diff] if isinstance(diff, dict) else diff or None,
        result=result,
    )


def masked(value: Any, secrets: Collection[str]) -> Any:
    """A JSON-like value in which these secrets are replaced, wherever they stand."""
    match value:
        case str():
            for secret in secrets:
                # Shorter ones would mask half of every message; nobody generates such.
                if len(secret) >= SHORTEST_MASKED:
                    value = value.replace(secret, MASK)
            return value
        case dict():
            return {key: masked(item, secrets) for key, item in value.items()}
        case list() | tuple():
            return [masked(item, secrets) for item in value]
        case _:
            return value
