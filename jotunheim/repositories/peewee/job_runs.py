"""The runs of jobs: what each of them was started with, so that it can be shown and repeated later.

A run is recorded when it starts. The server may be another one by then that somebody asks, or none at all.
"""

import uuid

from peewee import AutoField, BooleanField, CharField, ForeignKeyField, IntegerField, JSONField, TextField

from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.repositories.peewee.jobs import Job


class JobRun(Table):
    """One start of a playbook for one attempt of a job; an attempt may need several."""

    id = AutoField()
    job = ForeignKeyField(Job, backref="runs", on_delete="CASCADE")
    job_id: uuid.UUID
    attempt = IntegerField()
    playbook = CharField()
    """Its file's name."""
    inventory = TextField()
    """The whole inventory with all variables, as YAML; secrets stand in it by reference."""
    check_only = BooleanField()
    content_sha256 = CharField(max_length=64)
    """Digest of the playbook, its roles and the collection, see `ansible.content`."""
    versions = JSONField()
    """The installed versions of Jotunheim and what it runs on, by name of the package."""
    started_at = UtcField(default=now)

    @classmethod
    def last_of(cls, job: Job) -> "JobRun | None":
        """The run of a job that was started last; None: there was none."""
        found: JobRun | None = cls.select().where(cls.job == job).order_by(cls.id.desc()).first()
        return found
