"""Backups of servers: rows, their legal transitions, and the queries on them.

A backup outlives its server when it is kept: then the row has no server any more, and says what it was called.
"""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    TextField,
    UUIDField,
)

from jotunheim.data.backup.status import BackupMode, BackupStatus, Compression
from jotunheim.data.job import BACKUP_JOBS, JobType
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, now
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import LIVE, Job
from jotunheim.repositories.peewee.servers import Server

TRANSITIONS: Mapping[BackupStatus, frozenset[BackupStatus]] = {
    BackupStatus.CREATING: frozenset({BackupStatus.READY, BackupStatus.FAILED}),
    BackupStatus.FAILED: frozenset({BackupStatus.CREATING, BackupStatus.DELETING}),
    BackupStatus.READY: frozenset({BackupStatus.DELETING}),
    BackupStatus.DELETING: frozenset({BackupStatus.READY, BackupStatus.FAILED}),
}
"""From each status to those that may follow it. A deleted backup has no row."""


class Backup(Versioned, Table):
    """One backup. The id stands in the notes that its storage keeps."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    server = ForeignKeyField(Server, backref="backups", null=True, on_delete="SET NULL")
    server_id: uuid.UUID | None
    server_uuid = UUIDField(index=True)
    """The same id, kept when the server is gone."""
    server_name = CharField()
    owner = ForeignKeyField(User, backref="backups", on_delete="RESTRICT")
    owner_id: int
    node = ForeignKeyField(Node, backref="backups", on_delete="RESTRICT")
    node_id: int
    schedule_id = IntegerField(null=True, index=True)
    """The schedule that it was made by; that may be gone."""
    vmid = IntegerField()
    storage = CharField()
    volume = CharField(null=True)
    status = CharField(max_length=16, default=BackupStatus.CREATING)
    mode = CharField(max_length=16, default=BackupMode.SNAPSHOT)
    compress = CharField(max_length=16, default=Compression.ZSTD)
    notes = TextField(default="")
    locked = BooleanField(default=False)
    size_bytes = BigIntegerField(null=True)
    taken_at = UtcField(null=True)
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def to_be_made(cls, server: Server, asked: Mapping[str, Any]) -> "Backup":
        """A backup that a job makes, not stored yet.

        Args:
            asked: the job's parameters: `backup_id`, `storage`, `mode`, `compress`, `notes`.
        """
        return cls(
            id=uuid.UUID(asked["backup_id"]),
            server=server,
            server_uuid=server.id,
            server_name=server.name,
            owner=server.owner_id,
            node=server.node,
            vmid=server.vmid,
            schedule_id=asked.get("schedule_id"),
            **{name: asked[name] for name in ("storage", "mode", "compress", "notes")},
        )

    def record(self) -> None:
        """Store it."""
        self.save(force_insert=True)

    @classmethod
    def with_node(cls) -> Any:
        """A select of backups with their nodes."""
        return cls.select(cls, Node).join(Node)

    @classmethod
    def count_of(cls, server: Server) -> int:
        """How many backups of a server there are, or will be."""
        return int(cls.select().where((cls.server == server) & (cls.status != BackupStatus.FAILED)).count())

    @classmethod
    def forget_wanted(cls, id_: str) -> None:
        """Forget a backup that nobody has begun to make."""
        cls.delete().where(cls.id == uuid.UUID(id_)).execute()

    @classmethod
    def forget_failed(cls, server_id: uuid.UUID) -> None:
        """Forget a server's backups that came to nothing."""
        cls.delete().where((cls.server == server_id) & (cls.status == BackupStatus.FAILED)).execute()

    @classmethod
    def leave_schedule(cls, schedule_id: int) -> None:
        """Let the backups of a schedule be those of none: SQLite may give its id to the next one."""
        cls.update(schedule_id=None).where(cls.schedule_id == schedule_id).execute()

    @classmethod
    def forget_but(cls, server: Server, kept: Collection[str], storages: Collection[str]) -> None:
        """Forget a server's backups on these storages of its node, but for these volumes, and those that came to nothing."""
        there = (cls.node == server.node_id) & cls.storage.in_(list(storages))
        cls.delete().where((cls.server == server) & there & cls.volume.not_in(list(kept))).execute()
        cls.forget_failed(server.id)

    @classmethod
    def storages_of(cls, server: Server) -> set[str]:
        """The storages of a server's node on which it has backups."""
        query = (
            cls.select(cls.storage).where((cls.server == server) & (cls.node == server.node_id)).distinct()
        )
        return {backup.storage for backup in query}

    @classmethod
    def volumes_in_use(cls, server: Server) -> list[str]:
        """The volumes of a server's backups that other servers are being made from."""
        backups = list(cls.select().where(cls.server == server))
        needed = {made.restored_from for made in Server.being_made_from(backup.id for backup in backups)}
        return sorted(str(backup.volume) for backup in backups if backup.id in needed)

    @classmethod
    def names_where(cls, condition: Any, limit: int) -> tuple[list[str], int]:
        """Ids of some backups that meet a condition, and how many there are."""
        query = cls.select(cls.id).where(condition).order_by(cls.created_at)
        return [str(backup.id) for backup in query.limit(limit)], query.count()

    @classmethod
    def live_jobs(cls, backups: Collection["Backup"]) -> dict[uuid.UUID, uuid.UUID]:
        """The jobs that are queued or running for backups, by the backups' ids."""
        of_these = Job.server_uuid.in_([backup.server_uuid for backup in backups]) | Job.server_uuid.is_null()
        live = Job.type.in_(BACKUP_JOBS) & Job.status.in_(LIVE)
        found = Job.select(Job.id, Job.parameters).where(live & of_these)
        by_backup = {uuid.UUID(job.parameters["backup_id"]): job.id for job in found}
        return {backup.id: by_backup[backup.id] for backup in backups if backup.id in by_backup}

    @classmethod
    def asked_since(cls, server: Server, at: datetime) -> list[datetime]:
        """When backups of a server were asked for since then, the first one first; previews left out."""
        query = Job.select(Job.created_at).where(
            (Job.server == server)
            & (Job.type == JobType.BACKUP_CREATE)
            & ~Job.check_only
            & (Job.created_at > at)
        )
        return [job.created_at for job in query.order_by(Job.created_at)]

    def mark_creating(self) -> None:
        """It is being made, perhaps again after a failure."""
        self._move(BackupStatus.CREATING)

    def follow(self, server: Server) -> None:
        """It is still to be made, and the server's VM may be on another node by now, or under another VMID."""
        if (self.node_id, self.vmid) == (server.node_id, server.vmid):
            return
        default = self.storage == self.node.backup_storage
        storage = server.node.backup_storage if default else self.storage
        self.change(node=server.node, vmid=server.vmid, storage=storage)

    def mark_ready(self, volume: str, size_bytes: int, taken_at: datetime) -> None:
        """It was found on its storage."""
        self._move(BackupStatus.READY, volume=volume, size_bytes=size_bytes, taken_at=taken_at)

    def mark_failed(self) -> None:
        """It was not made."""
        self._move(BackupStatus.FAILED)

    def mark_deleting(self) -> None:
        """It is being removed."""
        self._move(BackupStatus.DELETING)

    def mark_kept(self) -> None:
        """It was not removed."""
        self._move(BackupStatus.FAILED if self.volume is None else BackupStatus.READY)

    def forget(self) -> None:
        """It is gone."""
        self.delete_instance()

    def _move(self, wanted: BackupStatus, **columns: object) -> None:
        current = BackupStatus(self.status)
        if current is wanted:
            return
        if wanted not in TRANSITIONS[current]:
            raise IllegalTransitionError(f"Backup {self.id}", current, wanted)
        self.change(status=wanted, **columns)
