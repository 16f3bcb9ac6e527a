"""The log of requests: what was asked, how it was answered, how long that took. Secrets are masked."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MASKED = frozenset(
    {
        "password",
        "cipassword",
        "confirmation-password",
        "value",
        "content",
        "input-data",
        "vncticket",
        "tfa-challenge",
    }
)
KEPT = 20_000
LONGEST_VALUE = 2000


@dataclass
class Entry:
    """One request. `status` is 0 while it is under way and -1 when the connection was cut."""

    index: int
    time: float
    method: str
    path: str
    params: dict[str, Any]
    user_agent: str | None = None
    user: str | None = None
    status: int = 0
    reason: str = ""
    duration_ms: float = 0.0
    modelled: bool = True
    fault: int | None = None


class RequestLog:
    """The last requests, numbered from 1."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self.count = 0

    def begin(self, method: str, path: str, user_agent: str | None) -> Entry:
        """Note a request that has arrived."""
        self.count += 1
        entry = Entry(self.count, time.time(), method, path, {}, user_agent)
        self._entries.append(entry)
        return entry

    def since(self, index: int) -> list[dict[str, Any]]:
        """The entries after an index, as JSON values."""
        return [asdict(entry) for entry in self._entries if entry.index > index]

    def clear(self) -> None:
        """Forget all entries and count from 1 again."""
        self._entries.clear()
        self.count = 0


def masked(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters fit for the log: secrets masked, long values cut. What is read by is no secret."""
    secret = MASKED if method != "GET" else frozenset()
    return {name: "**********" if name in secret else _short(value) for name, value in params.items()}


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"{value[:LONGEST_VALUE]}… ({len(value)} characters)"
    return value
