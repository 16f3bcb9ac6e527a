"""What stands on a node as if it were ours, and is in none of our records."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from jotunheim.data.fields import Distinct, Shape, View
from jotunheim.data.server.view import NodeSummary


class OrphanKind(StrEnum):
    """What an orphan is."""

    VM = "vm"
    DISK = "disk"
    BACKUP = "backup"


class Caution(StrEnum):
    """Why an orphan may be somebody's after all. Whoever prunes it names each that it has."""

    UNKNOWN = "unknown"
    """None of our records has ever named it: another Jotunheim's, or records were lost. Or its import came to nothing."""
    COPIED = "copied"
    """The VM carries the mark, and not the UUID that goes with it: made by copying a server by hand, or half of a build."""
    RUNNING = "running"
    """The VM runs."""
    UNMARKED = "unmarked"
    """A disk says nothing but a VMID of our range, and there is no such VM."""


class OrphanView(View):
    """Something on a node that has our mark, or a disk with a VMID of ours, and no record."""

    id: uuid.UUID
    kind: OrphanKind
    node: NodeSummary
    vmid: int
    name: str
    """Of the VM; of a disk or backup its volume."""
    mark: uuid.UUID | None
    """The id of the server or backup that it is marked as; None: a disk."""
    storage: str | None
    volume: str | None
    size_bytes: int | None
    protected: bool
    """Proxmox VE lets nobody remove it until that is taken off there."""
    cautions: list[Caution]
    job_id: uuid.UUID | None
    """The job that prunes it."""
    found_at: datetime
    """When it was seen first."""
    seen_at: datetime
    """When it was seen last."""


class PruneRequest(Shape):
    """That an orphan shall be removed for good."""

    despite: Annotated[list[Caution], Field(max_length=len(Caution)), Distinct] = []
    """All of its cautions: whoever asks has seen them."""
