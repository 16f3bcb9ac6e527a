"""The steps of jobs: what their runs have done, stage by stage."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from peewee import AutoField, BooleanField, CharField, ForeignKeyField, IntegerField, JSONField

from jotunheim.data.job import StepStatus
from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.repositories.peewee.jobs import Job, JobEvent


class JobStep(Table):
    """One visible stage of one attempt of a job."""

    id = AutoField()
    job = ForeignKeyField(Job, backref="steps", on_delete="CASCADE")
    job_id: uuid.UUID
    attempt = IntegerField()
    name = CharField()
    status = CharField(max_length=16)
    changed = BooleanField(default=False)
    diff = JSONField(null=True)
    upids = JSONField(default=list)
    """The Proxmox tasks that it started, or found under way."""
    started_at = UtcField(default=now)
    finished_at = UtcField(null=True)

    @classmethod
    def begin(cls, job: Job, name: str) -> "JobStep":
        """A stage begins."""
        step: JobStep = cls.create(job=job, attempt=job.attempt, name=name, status=StepStatus.RUNNING)
        JobEvent.add(job.id, "step.started", {"name": name})
        return step

    def end(
        self, status: StepStatus, *, changed: bool, diff: list[dict[str, Any]] | None, upids: Sequence[str]
    ) -> None:
        """The stage is over."""
        JobStep.update(status=status, changed=changed, diff=diff, upids=list(upids), finished_at=now()).where(
            JobStep.id == self.id
        ).execute()
        JobEvent.add(
            self.job_id,
            "step.finished",
            {"name": self.name, "status": status, "changed": changed, "diff": diff},
        )

    @classmethod
    def any_ok(cls, job: Job) -> bool:
        """Whether a stage of a job went well, in any attempt."""
        return bool(cls.select().where((cls.job == job) & (cls.status == StepStatus.OK)).exists())

    @classmethod
    def ended_well(cls, job: Job, name: str) -> bool:
        """Whether the stage with this name went well, in any attempt."""
        return bool(
            cls.select().where((cls.job == job) & (cls.name == name) & (cls.status == StepStatus.OK)).exists()
        )

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> "dict[uuid.UUID, list[JobStep]]":
        """The steps of each job's last attempt, by job id."""
        found: dict[uuid.UUID, list[JobStep]] = {}
        query = (
            cls.select(cls)
            .join(Job)
            .where(cls.job.in_([job.id for job in jobs]) & (cls.attempt == Job.attempt))
            .order_by(cls.id)
        )
        for step in query:
            found.setdefault(step.job_id, []).append(step)
        return found
