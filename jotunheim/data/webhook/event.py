"""What a receiver is sent: one JSON document, the same in every attempt."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jotunheim.data.fields import View
from jotunheim.data.job import JobError, JobStatus, Resource
from jotunheim.data.webhook.kinds import EventKind

MAX_BODY = 64 * 1024
"""Bytes of one document."""


class ClientJobTold(View):
    """A job that has ended, as the owner of its server is told: its view without steps."""

    id: uuid.UUID
    type: str
    status: JobStatus
    check: bool
    """It was a preview."""
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    resources: list[Resource]
    result: dict[str, Any] | None
    error: JobError | None


class JobTold(ClientJobTold):
    """The same as operators are told."""

    requested_by: str
    request_id: str


def body(
    id_: uuid.UUID, kind: EventKind, at: datetime, resource: tuple[str, object], data: Mapping[str, Any]
) -> str:
    """The document: `{"id", "type", "created_at", "data"}`, in at most `MAX_BODY` bytes.

    Where `data` is too large, `{"resource": {"type", "id"}, "truncated": true}` stands in its place.
    """
    head = {"id": str(id_), "type": kind, "created_at": at}
    document = _json({**head, "data": data})
    if len(document) <= MAX_BODY:
        return document
    about = {"type": resource[0], "id": str(resource[1])}
    return _json({**head, "data": {"resource": about, "truncated": True}})


def _json(document: Mapping[str, Any]) -> str:
    # ASCII: every character is one byte, and lone surrogates are no trouble.
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> str:
    """Times as the API writes them, and whatever else JSON does not know as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)
