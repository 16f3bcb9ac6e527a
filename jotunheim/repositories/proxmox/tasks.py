"""Proxmox VE's background tasks: their ids, how long to wait between looks, and who remembers them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


Note = tuple[float, list[str]]
"""When a job was about to do something, in seconds since 1970, and what: e.g. to remove these backups."""


class TaskJournal(Protocol):
    """What a job keeps about its tasks, so that another worker can continue it.

    An operation is a name that is unique within the job's host, e.g. ``clone``.
    """

    def changing(self) -> AbstractContextManager[None]:
        """The time from a request that changes something until its answer, and the task it started, are known.

        A run that shall be stopped goes on until then. Raises LeaseLostError when the job has moved to another worker.
        """

    def remember(self, operation: str, upid: str) -> None:
        """Store the task id; called before the task is waited for."""

    def recall(self, operation: str) -> str | None:
        """The task id that this job's earlier attempt stored, or None."""

    def note(self, about: str, things: Sequence[str]) -> None:
        """Store what is about to be done, for what the node does not show afterwards; called before it is done."""

    def noted(self, about: str) -> list[Note]:
        """What this job noted, in earlier attempts too, the oldest first."""


@dataclass(frozen=True)
class Upid:
    """A task id's readable parts: ``UPID:node:pid:pstart:starttime:type:id:user:``."""

    text: str
    node: str
    type: str
    id: str

    @classmethod
    def parse(cls, text: str) -> "Upid":
        """Raises ValueError when the text is no task id."""
        parts = text.split(":")
        if len(parts) != 9 or parts[0] != "UPID":
            raise ValueError(f"not a task id: {text!r}")
        return cls(text, node=parts[1], type=parts[5], id=parts[6])


def is_upid(value: Any) -> bool:
    """Whether an answer's data is a task id."""
    return isinstance(value, str) and value.startswith("UPID:")


def pauses(first_seconds: float | None = None, growth: float = 1.5) -> Iterator[float]:
    """Seconds between two looks at something that takes time: 50 ms (or `first_seconds`), growing by half up to 1 s."""
    pause = FIRST_PAUSE_SECONDS if first_seconds is None else first_seconds
    while True:
        yield pause
        pause = min(pause * growth, LONGEST_PAUSE_SECONDS)


def succeeded(exit_status: str) -> bool:
    """Whether a task's exit status means success; ``WARNINGS: n`` does."""
    return exit_status == "OK" or exit_status.startswith("WARNINGS:")
