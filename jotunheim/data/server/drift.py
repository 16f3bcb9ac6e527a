"""What differs between our record of a server and its VM, as a look at the VM has found it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from jotunheim.data.answers import Meta
from jotunheim.data.fields import Shape, ShortText, View
from jotunheim.data.server.change import Restart
from jotunheim.data.server.view import NodeSummary, ServerView


class DriftStatus(StrEnum):
    """What the last look at a server's VM came to."""

    IN_SYNC = "in_sync"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"
    """The VM could not be looked at; what was found before may still be so."""


class Acceptable(StrEnum):
    """The fields of a server that can be taken over as they were found."""

    NAME = "name"
    CPU = "cpu"
    MEMORY = "memory_bytes"
    DISK = "disk_bytes"
    TAGS = "tags"
    DESCRIPTION = "description"
    AGENT = "agent"
    NETWORK = "network"
    """Only its rate."""


class Difference(View):
    """One setting of a VM that is not as it is recorded."""

    field: str
    """The field of a server that it belongs to, or `vm`, `owner`, `mark`, `power`, `onboot`, `firewall`."""
    setting: str
    """What Proxmox VE, and the job's diff, call it."""
    recorded: Any
    found: Any


class DriftError(View):
    """Why a VM could not be looked at."""

    code: str
    message: str


class DriftView(View):
    """The drift of one server."""

    server_id: UUID
    server_name: str
    owner_id: int
    node: NodeSummary
    status: DriftStatus
    checked_at: datetime | None
    """When the VM was looked at last, or could not be; null: never."""
    found_at: datetime | None
    """Since when it is known to differ; null: it does not."""
    differences: list[Difference]
    diff: list[dict[str, Any]]
    """The same as the steps of a preview show it: `before` is what was found, `after` what is recorded."""
    acceptable: dict[str, Any]
    """What accepting would record, by field."""
    error: DriftError | None
    reasserted_at: datetime | None
    """When a sweep last queued a job by itself to put it right."""
    version: str
    """Of what was found; accepting names it."""


class DriftAnswer(View):
    """The drift of one server."""

    drift: DriftView


class DriftList(View):
    """A page of the drift of all servers."""

    drift: list[DriftView]
    meta: Meta


class DriftAccepted(View):
    """A server whose record has taken over what was found, and the drift that is left."""

    server: ServerView
    drift: DriftView


class ReconcileRequest(Shape):
    """That a VM shall be brought to what is recorded."""

    restart: Restart = Restart.NEVER
    """What to do when a change takes effect only with a restart."""


class AcceptRequest(Shape):
    """That the record shall take over what was found."""

    version: ShortText
    """`version` of the drift that is accepted."""
    fields: Annotated[list[Acceptable], Field(min_length=1)] | None = None
    """Which fields; left out: all that differ."""
