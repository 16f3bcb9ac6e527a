"""The Proxmox tasks of jobs, by which another worker finds what the first one began."""

import uuid
from collections.abc import Iterable

from peewee import AutoField, CharField, ForeignKeyField

from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.repositories.peewee.jobs import Job


class PveTask(Table):
    """A task that a job started on a node, saved before it was waited for."""

    id = AutoField()
    job = ForeignKeyField(Job, backref="pve_tasks", on_delete="CASCADE")
    job_id: uuid.UUID
    operation = CharField(max_length=32)
    upid = CharField(unique=True)
    created_at = UtcField(default=now)

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> "dict[uuid.UUID, list[str]]":
        """UPIDs by job id, in the order in which they were started."""
        found: dict[uuid.UUID, list[str]] = {}
        query = cls.select().where(cls.job.in_([job.id for job in jobs])).order_by(cls.id)
        for task in query:
            found.setdefault(task.job_id, []).append(task.upid)
        return found
