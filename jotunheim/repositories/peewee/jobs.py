"""Jobs, their steps, their events and their Proxmox tasks.

The `job` table is the record of what was asked for; the queue only wakes workers. A claim is a lease:
owner, expiry and a fencing number that grows with every claim. Whoever writes to a running job shows the
number; when it is no longer the job's, the write is refused with `LeaseLostError`.
"""

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from peewee import (
    AutoField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    UUIDField,
    fn,
)

from jotunheim.data.job import JobError, JobStatus, StepStatus
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.exceptions.repository import LeaseLostError
from jotunheim.repositories.peewee.database import Table, UtcField, now, unique
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server

LIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING}),
    JobStatus.RUNNING: frozenset({JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED}),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.SUCCEEDED: frozenset(),
}
"""From each status to those that may follow it. Running to queued: the worker was lost or handed over."""


class Job(Table):
    """One requested change."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    type = CharField(max_length=32)
    status = CharField(max_length=16, default=JobStatus.QUEUED)
    check_only = BooleanField(default=False)
    progress = IntegerField(default=0)
    attempt = IntegerField(default=0)
    max_attempts = IntegerField()
    server = ForeignKeyField(Server, backref="jobs", null=True, on_delete="SET NULL")
    server_id: uuid.UUID | None
    node = ForeignKeyField(Node, backref="jobs", null=True, on_delete="SET NULL")
    node_id: int | None
    requested_by = CharField()
    request_id = CharField()
    error = JSONField(null=True)
    lease_owner = CharField(null=True)
    lease_expires_at = UtcField(null=True)
    fence = IntegerField(default=0)
    created_at = UtcField(default=now)
    started_at = UtcField(null=True)
    finished_at = UtcField(null=True)

    class Meta:
        indexes = ((("status", "lease_expires_at"), False), (("created_at",), False))

    @classmethod
    def enqueue(cls, **columns: Any) -> "Job":
        """Insert a queued job and its first event."""
        job: Job = cls.create(**columns)
        JobEvent.add(job.id, "job.queued", {})
        return job

    @classmethod
    def claim(cls, job_id: uuid.UUID, owner: str, lease_seconds: float) -> "Job | None":
        """Take a job for `lease_seconds`, if it is queued or its worker went silent.

        Returns:
            The job with its new fencing number, or None: another worker was faster, or it is over.
        """
        at = now()
        claimed = (
            cls.update(
                status=JobStatus.RUNNING,
                attempt=cls.attempt + 1,
                fence=cls.fence + 1,
                lease_owner=owner,
                lease_expires_at=at + timedelta(seconds=lease_seconds),
                started_at=fn.COALESCE(cls.started_at, cls.started_at.db_value(at)),
            )
            .where((cls.id == job_id) & _claimable(at))
            .execute()
        )
        if not claimed:
            return None
        job: Job = cls.get_by_id(job_id)
        JobEvent.add(job.id, "job.started", {"attempt": job.attempt})
        return job

    @classmethod
    def queued(cls, limit: int) -> list[uuid.UUID]:
        """Ids of jobs that wait for a worker, the oldest first."""
        query = cls.select(cls.id).where(cls.status == JobStatus.QUEUED).order_by(cls.created_at).limit(limit)
        return [job.id for job in query]

    @classmethod
    def abandoned(cls, limit: int) -> list[uuid.UUID]:
        """Ids of running jobs whose worker went silent, the oldest first."""
        query = cls.select(cls.id).where(_abandoned(now())).order_by(cls.created_at).limit(limit)
        return [job.id for job in query]

    @classmethod
    def matching(cls, status: JobStatus | None, server_id: uuid.UUID | None) -> Any:
        """A select of jobs, narrowed to a status and a server when given."""
        query = cls.select()
        if status is not None:
            query = query.where(cls.status == status)
        if server_id is not None:
            query = query.where(cls.server == server_id)
        return query

    @classmethod
    def live_of(cls, servers: Iterable[Server]) -> dict[uuid.UUID, uuid.UUID]:
        """Ids of queued and running jobs, by server id."""
        query = cls.select(cls.id, cls.server).where(
            cls.server.in_([server.id for server in servers]) & cls.status.in_(LIVE)
        )
        return {job.server_id: job.id for job in query if job.server_id}

    @classmethod
    def renew(cls, leases: Mapping[uuid.UUID, int], lease_seconds: float) -> set[uuid.UUID]:
        """Extend the leases of jobs, given their fencing numbers.

        Returns:
            The ids whose lease was lost to somebody else.
        """
        expiry = now() + timedelta(seconds=lease_seconds)
        return {
            job_id
            for job_id, fence in leases.items()
            if not cls.update(lease_expires_at=expiry).where(_held(job_id, fence)).execute()
        }

    def assert_lease(self) -> None:
        """Raise LeaseLostError unless this job is still ours, and keep it so until the transaction ends."""
        self._update_held()

    def mark_succeeded(self) -> None:
        """The work is done and was read back."""
        self._finish(JobStatus.SUCCEEDED, None)

    def mark_failed(self, error: JobError) -> None:
        """The work ended without its result."""
        self._finish(JobStatus.FAILED, error)

    def hand_over(self) -> None:
        """Put the job back into the queue for another worker; the attempt is not counted."""
        self._move(JobStatus.QUEUED, attempt=Job.attempt - 1, lease_owner=None, lease_expires_at=None)

    def requeue(self) -> None:
        """Try a failed job again from where it stood, with room for further attempts.

        Raises:
            IllegalTransitionError: the job did not fail.
            UniquenessError: another job of the same server is live.
        """
        if JobStatus.QUEUED not in TRANSITIONS[JobStatus(self.status)] or self.status in LIVE:
            raise IllegalTransitionError(f"Job {self.id}", self.status, JobStatus.QUEUED)
        with unique("Another job of this server is queued or running."):
            moved = (
                Job.update(
                    status=JobStatus.QUEUED,
                    max_attempts=Job.max_attempts + Job.attempt,
                    error=None,
                    progress=0,
                    finished_at=None,
                )
                .where((Job.id == self.id) & (Job.status == self.status))
                .execute()
            )
        if not moved:
            raise IllegalTransitionError(f"Job {self.id}", f"no longer {self.status}", JobStatus.QUEUED)
        self.status = JobStatus.QUEUED
        JobEvent.add(self.id, "job.queued", {})

    def record_progress(self, percent: int) -> None:
        """Say how far the work has come, 0 to 100; it never goes back."""
        if percent > self.progress:
            self._update_held(progress=percent)
            self.progress = percent

    def _finish(self, status: JobStatus, error: JobError | None) -> None:
        document = error.model_dump() if error else None
        self._move(
            status,
            finished_at=now(),
            lease_owner=None,
            lease_expires_at=None,
            error=document,
            **({"progress": 100} if status is JobStatus.SUCCEEDED else {}),
        )
        JobEvent.add(self.id, "job.finished", {"status": status, "error": document})

    def _move(self, wanted: JobStatus, **columns: object) -> None:
        if wanted not in TRANSITIONS[JobStatus(self.status)]:
            raise IllegalTransitionError(f"Job {self.id}", self.status, wanted)
        self._update_held(status=wanted, **columns)
        self.status = wanted

    def _update_held(self, **columns: object) -> None:
        columns = columns or {"fence": Job.fence}
        if not Job.update(**columns).where(_held(self.id, self.fence)).execute():
            raise LeaseLostError(f"Job {self.id} belongs to another worker now.")


Job.add_index(Job.index(Job.server, unique=True, name="job_one_live_per_server", where=Job.status.in_(LIVE)))


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
    started_at = UtcField(default=now)
    finished_at = UtcField(null=True)

    @classmethod
    def begin(cls, job: Job, name: str) -> "JobStep":
        """A stage begins."""
        step: JobStep = cls.create(job=job, attempt=job.attempt, name=name, status=StepStatus.RUNNING)
        JobEvent.add(job.id, "step.started", {"name": name})
        return step

    def end(self, status: StepStatus, *, changed: bool, diff: list[dict[str, Any]] | None) -> None:
        """The stage is over."""
        at = now()
        JobStep.update(status=status, changed=changed, diff=diff, finished_at=at).where(
            JobStep.id == self.id
        ).execute()
        JobEvent.add(
            self.job_id,
            "step.finished",
            {"name": self.name, "status": status, "changed": changed, "diff": diff},
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


class JobEvent(Table):
    """Something that happened in a job, in the order of `seq`."""

    seq = AutoField()
    job = ForeignKeyField(Job, backref="events", on_delete="CASCADE", index=False)
    job_id: uuid.UUID
    at = UtcField(default=now)
    type = CharField(max_length=32)
    data = JSONField()

    class Meta:
        indexes = ((("job", "seq"), False),)

    @classmethod
    def add(cls, job_id: uuid.UUID, type_: str, data: dict[str, Any]) -> None:
        """Append an event."""
        cls.create(job=job_id, type=type_, data=data)

    @classmethod
    def after(cls, job_id: uuid.UUID, seq: int, limit: int) -> "list[JobEvent]":
        """The events of a job behind a cursor, oldest first."""
        return list(cls.select().where((cls.job == job_id) & (cls.seq > seq)).order_by(cls.seq).limit(limit))


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


def _claimable(at: datetime) -> Any:
    return (Job.status == JobStatus.QUEUED) | _abandoned(at)


def _abandoned(at: datetime) -> Any:
    return (Job.status == JobStatus.RUNNING) & (Job.lease_expires_at < at)


def _held(job_id: uuid.UUID, fence: int) -> Any:
    return (Job.id == job_id) & (Job.fence == fence) & (Job.status == JobStatus.RUNNING)
