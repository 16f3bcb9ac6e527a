"""What the API answers about backups."""

from datetime import datetime
from uuid import UUID

from jotunheim.data.backup.status import BackupMode, BackupStatus, Compression
from jotunheim.data.fields import View
from jotunheim.data.server.view import NodeSummary


class BackupView(View):
    """A backup of a server."""

    id: UUID
    server_id: UUID | None
    """None: the server is gone, and its backup was kept."""
    server_name: str
    owner_id: int
    status: BackupStatus
    job_id: UUID | None
    """The job that is queued or running for it."""
    node: NodeSummary
    """Where it was made."""
    storage: str
    volume: str | None
    """What Proxmox VE calls it; known when it is ready."""
    vmid: int
    """The VMID that the server had then."""
    mode: BackupMode
    compress: Compression
    notes: str
    locked: bool
    """Whether it refuses to be deleted, here and on its storage."""
    size_bytes: int | None
    taken_at: datetime | None
    """When Proxmox VE began with it: what was written later is not in it."""
    created_at: datetime
    updated_at: datetime


class ClientBackupView(View):
    """A backup as the owner of its server sees it: nothing of nodes and storages."""

    id: UUID
    server_id: UUID
    status: BackupStatus
    job_id: UUID | None
    mode: BackupMode
    compress: Compression
    notes: str
    locked: bool
    size_bytes: int | None
    taken_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, backup: BackupView) -> "ClientBackupView":
        """The owner's part of what an operator sees."""
        return cls.model_validate(backup.model_dump())
