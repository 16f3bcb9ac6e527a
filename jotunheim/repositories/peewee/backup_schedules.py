"""Schedules: which servers are backed up when, and how long such backups are kept."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from peewee import AutoField, BooleanField, CharField, ForeignKeyField, IntegerField, JSONField, UUIDField, fn

from jotunheim.data.backup.status import BackupMode, BackupStatus, Compression
from jotunheim.data.job import JobType
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, now
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import LIVE, Job
from jotunheim.repositories.peewee.servers import Server


class BackupSchedule(Versioned, Table):
    """When backups of a server are made by themselves."""

    id = AutoField()
    server = ForeignKeyField(Server, backref="backup_schedules", on_delete="CASCADE")
    server_id: uuid.UUID
    cron = CharField()
    timezone = CharField()
    jitter_seconds = IntegerField(default=0)
    mode = CharField(max_length=16, default=BackupMode.SNAPSHOT)
    compress = CharField(max_length=16, default=Compression.ZSTD)
    storage = CharField(null=True)
    keep = JSONField(default=dict)
    enabled = BooleanField(default=True)
    next_run_at = UtcField(null=True, index=True)
    last_run_at = UtcField(null=True)
    last_job_id = UUIDField(null=True)
    prune_at = UtcField(null=True, index=True)
    """When to look for backups that need not be kept any more; None: when there is another one."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        table_name = "backup_schedule"

    @classmethod
    def count_of(cls, server: Server) -> int:
        """How many schedules a server has."""
        return int(cls.select().where(cls.server == server).count())

    @classmethod
    def due(cls, at: datetime) -> "list[BackupSchedule]":
        """Those whose next backup is due, with servers and nodes, the longest due first."""
        query = cls.select(cls, Server, Node).join(Server).join(Node)
        return list(query.where(cls.enabled & (cls.next_run_at <= at)).order_by(cls.next_run_at, cls.id))

    @classmethod
    def to_be_pruned(cls, at: datetime) -> "list[BackupSchedule]":
        """Those whose backups are to be looked through."""
        return list(cls.select().where(cls.prune_at <= at).order_by(cls.prune_at, cls.id))

    @classmethod
    def prune_soon(cls, backup: Backup) -> None:
        """A backup of a schedule was made, or removed: look through its others."""
        cls.update(prune_at=now()).where(cls.id == backup.schedule_id).execute()

    def backups(self) -> list[Backup]:
        """Those of its backups that are ready and not locked, the newest first."""
        good = (Backup.schedule_id == self.id) & (Backup.status == BackupStatus.READY) & ~Backup.locked
        return list(
            Backup.with_node()
            .where(good & (Backup.server == self.server_id))
            .order_by(Backup.taken_at.desc())
        )

    def note_run(self, job_id: uuid.UUID, next_run_at: datetime | None) -> None:
        """Its backup was asked for."""
        self._note(last_run_at=now(), last_job_id=job_id, next_run_at=next_run_at)

    def note_missed(self, next_run_at: datetime | None) -> None:
        """Its backup could not be made."""
        self._note(next_run_at=next_run_at)

    def note_pruning(self, at: datetime | None) -> None:
        """When to look through its backups again."""
        self._note(prune_at=at)

    def _note(self, **columns: Any) -> None:
        """Not `change`: nothing that a caller may set is changed."""
        BackupSchedule.update(**columns).where(BackupSchedule.id == self.id).execute()
        for name, value in columns.items():
            setattr(self, name, value)


def being_made_on(node_ids: Iterable[int]) -> dict[int, int]:
    """How many backups are being made, or wait to be, on nodes, by their ids."""
    live = (Job.type == JobType.BACKUP_CREATE) & Job.status.in_(LIVE) & ~Job.check_only
    query: Any = (
        Job.select(Job.node, fn.COUNT(Job.id)).where(live & Job.node.in_(list(node_ids))).group_by(Job.node)
    )
    return dict(query.tuples())
