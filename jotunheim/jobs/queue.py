"""The queue that wakes workers: Huey on SQLite, PostgreSQL or Redis.

What travels is a job id in JSON and nothing else: no pickle, no secrets. A lost message is no lost job, the
`job` table is the record, and workers sweep it.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from huey import Huey, PostgresHuey, RedisHuey, SqliteHuey
from huey.registry import Message
from huey.serializer import Serializer

from jotunheim.exceptions.model import DataValidationError, FieldProblem

NAME = "jotunheim"
_BAD_PERCENT = re.compile("%(?![0-9a-fA-F]{2})")

log = logging.getLogger(__name__)


class JsonSerializer(Serializer):  # type: ignore[misc]  # huey publishes no types
    """Writes Huey's messages as JSON."""

    def _serialize(self, data: Message) -> bytes:
        return json.dumps(data._asdict()).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(**json.loads(data))


class Queue:
    """Wake-up calls for workers."""

    def __init__(self, url: str) -> None:
        self.huey = _open(url)
        self._handler: Callable[[], None] | None = None
        self._wake = self.huey.task(name="wake")(self._woken)

    def wake(self, job_id: uuid.UUID) -> None:
        """Tell a worker that a job waits."""
        self._wake(str(job_id))

    def close(self) -> None:
        """Close its connection, at the end of a process that only wakes others."""
        self.huey.storage.close()

    def is_empty(self) -> bool:
        """Whether no wake-up call waits for a worker."""
        return int(self.huey.pending_count()) == 0

    def on_wake(self, handler: Callable[[], None]) -> None:
        """Set what a worker does with a wake-up call. It says that there is work; which, the `job` table says."""
        self._handler = handler

    def _woken(self, job_id: str) -> None:
        assert self._handler is not None
        log.debug("Woken for job %s.", job_id)
        self._handler()


def _open(url: str) -> Huey:
    # Results are not kept: the job table has them.
    common: dict[str, Any] = {"name": NAME, "results": False, "serializer": JsonSerializer()}
    if url.startswith("sqlite:///"):
        # Without fsync: losing wake-up calls in a power cut is harmless.
        return SqliteHuey(filename=url.removeprefix("sqlite:///"), fsync=False, timeout=30, **common)
    # Drivers repeat what they do not understand of a URL, which may be the password.
    with suppress(ValueError):
        _ = urlsplit(url).port
        if url.startswith(("postgresql://", "postgres://")) and not _BAD_PERCENT.search(url):
            return PostgresHuey(dsn=url, **common)
        if url.startswith(("redis://", "rediss://", "unix://")):
            return RedisHuey(url=url, **common)
    raise DataValidationError(
        [
            FieldProblem(
                "JOTUNHEIM_QUEUE_URL",
                "must be sqlite:///PATH, postgresql://… or redis://…, with special characters of a password as %XX",
            )
        ]
    )
