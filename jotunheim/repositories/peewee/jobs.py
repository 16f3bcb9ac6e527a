"""Jobs and their events. Their steps and Proxmox tasks have modules of their own.

The `job` table is the record of what was asked for; the queue only wakes workers. A claim is a lease:
owner, expiry and a fencing number that grows with every claim. Whoever writes to a running job shows the
number; when it is no longer the job's, the write is refused with `LeaseLostError`.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from peewee import (
    AutoField,
    BooleanField,
    Case,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    UUIDField,
    fn,
)

from jotunheim.data.job import JobError, JobStatus, OnCancel
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.exceptions.repository import LeaseLostError, UniquenessError
from jotunheim.repositories.peewee.database import Table, UtcField, among, now, unique
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.job_announcements import announce_end
from jotunheim.repositories.peewee.servers import Server

LIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}
"""From each status to those that may follow it. Running to queued: handed over, or put off after a failure."""


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
    server_uuid = UUIDField(null=True, index=True)
    """The same id, kept when the server is gone."""
    owner_id = IntegerField(null=True, index=True)
    """Whose server it was when the job was requested; they may see the job."""
    node = ForeignKeyField(Node, backref="jobs", null=True, on_delete="SET NULL")
    node_id: int | None
    requested_by = CharField()
    request_id = CharField(index=True)
    parameters = JSONField(default=dict)
    """What was asked for, beyond type and server. Never a secret."""
    run_after = UtcField(null=True)
    """A scheduled job: it waits until then, and locks its server only from then on."""
    not_before = UtcField(null=True)
    """When the next attempt is due, after a failure that may pass. Its server stays locked."""
    cancel_requested = CharField(max_length=16, null=True)
    """It shall be cancelled although it has begun: an `OnCancel`. A worker does it."""
    result = JSONField(null=True)
    error = JSONField(null=True)
    lease_owner = CharField(null=True)
    lease_expires_at = UtcField(null=True)
    fence = IntegerField(default=0)
    created_at = UtcField(default=now)
    started_at = UtcField(null=True, index=True)
    finished_at = UtcField(null=True)

    class Meta:
        indexes = ((("status", "lease_expires_at"), False), (("created_at",), False))

    @classmethod
    def enqueue(cls, **columns: Any) -> "Job":
        """Insert a queued job and its first event.

        Raises:
            UniquenessError: another job of the same server is queued or running.
        """
        server: Server | None = columns.get("server")
        if server is not None:
            columns |= {"server_uuid": server.id, "owner_id": server.owner_id}
        with unique("Another job of this server is queued or running."):
            job: Job = cls.create(**columns)
        JobEvent.add(job.id, "job.queued", {})
        return job

    @classmethod
    def find(cls, id_: uuid.UUID, owner_id: int | None = None) -> "Job | None":
        """A job; with `owner_id` only one on this user's servers."""
        query = cls.select().where(cls.id == id_)
        found: Job | None = (query if owner_id is None else query.where(cls.owner_id == owner_id)).first()
        return found

    @classmethod
    def claim(cls, job_id: uuid.UUID, owner: str, lease_seconds: float) -> "Job | None":
        """Take a job for `lease_seconds`, if it is queued and due, or its worker went silent.

        Returns:
            The job with its new fencing number, or None: another worker was faster, it is over, or it was
            scheduled and another job of its server is live.
        """
        at = now()
        try:
            with unique("Another job of this server is queued or running."):
                claimed = (
                    cls.update(
                        status=JobStatus.RUNNING,
                        run_after=None,
                        not_before=None,
                        error=None,
                        attempt=cls.attempt + 1,
                        fence=cls.fence + 1,
                        lease_owner=owner,
                        lease_expires_at=at + timedelta(seconds=lease_seconds),
                        started_at=fn.COALESCE(cls.started_at, cls.started_at.db_value(at)),
                    )
                    .where((cls.id == job_id) & (waiting(at) | abandoned(at)))
                    .execute()
                )
        except UniquenessError:
            return None
        if not claimed:
            return None
        job: Job = cls.get_by_id(job_id)
        JobEvent.add(job.id, "job.started", {"attempt": job.attempt})
        return job

    @classmethod
    def blocking(cls, server: Server) -> "Job | None":
        """The job that locks a server: the one that is queued or running, or a scheduled one that is due."""
        found: Job | None = (
            cls.select()
            .where((cls.server == server) & cls.status.in_(LIVE) & _due(now()))
            .order_by(cls.run_after.is_null(False))
            .first()
        )
        return found

    @classmethod
    def is_due_next(cls, server: Server) -> bool:
        """Whether a scheduled job gets a server as soon as no other one has it."""
        scheduled = (cls.status == JobStatus.QUEUED) & (cls.run_after <= now())
        return bool(cls.select().where((cls.server == server) & scheduled).exists())

    @classmethod
    def disown(cls, owner_id: int) -> None:
        """Let the jobs on servers that a user had be nobody's: SQLite may give the user's id to the next one."""
        cls.update(owner_id=None).where(cls.owner_id == owner_id).execute()

    @classmethod
    def live_on(cls, node: Node, type_: str) -> "Job | None":
        """A job of a type about a node and no server that is queued or running."""
        about = (cls.node == node) & cls.server_uuid.is_null() & (cls.type == type_)
        found: Job | None = cls.select().where(about & cls.status.in_(LIVE)).first()
        return found

    @classmethod
    def live_of_requester(cls, requested_by: str) -> dict[int, int]:
        """How many jobs that somebody has asked for are queued or running, by node id."""
        query: Any = (
            cls.select(cls.node, fn.COUNT(cls.id))
            .where(cls.status.in_(LIVE) & (cls.requested_by == requested_by) & ~cls.check_only)
            .group_by(cls.node)
            .tuples()
        )
        return dict(query)

    @classmethod
    def abandoned_among(cls, job_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those of these jobs that run, and whose leases have expired."""
        return {job.id for job in cls.select(cls.id).where(cls.id.in_(list(job_ids)) & abandoned(now()))}

    @classmethod
    def cancelled_among(cls, job_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those of these jobs that shall be cancelled."""
        wanted = cls.cancel_requested.is_null(False)
        return {job.id for job in cls.select(cls.id).where(cls.id.in_(list(job_ids)) & wanted)}

    @classmethod
    def live_of(cls, servers: Iterable[Server]) -> dict[uuid.UUID, uuid.UUID]:
        """Ids of queued and running jobs, by server id; of a scheduled one when there is no other."""
        query = (
            cls.select(cls.id, cls.server)
            .where(among(cls.server, (server.id for server in servers)) & cls.status.in_(LIVE))
            .order_by(cls.run_after.is_null())
        )
        return {job.server_id: job.id for job in query if job.server_id}

    @classmethod
    def renew(cls, leases: Mapping[uuid.UUID, int], lease_seconds: float) -> set[uuid.UUID]:
        """Extend the leases of jobs, given their fencing numbers.

        Returns:
            The ids whose lease was lost to somebody else.
        """
        expiry = now() + timedelta(seconds=lease_seconds)
        id_: Any = cls.id
        fences = Case(id_, [(id_.db_value(job_id), fence) for job_id, fence in leases.items()])
        ours = among(cls.id, leases) & (cls.fence == fences) & (cls.status == JobStatus.RUNNING)
        # One statement: other writers would come in between, and a lease run out before its turn.
        renewed = cls.update(lease_expires_at=expiry).where(ours).returning(cls.id).execute()
        return leases.keys() - {job.id for job in renewed}

    def assert_lease(self) -> None:
        """Raise LeaseLostError unless this job is still ours, and keep it so until the transaction ends."""
        self._update_held()

    def mark_succeeded(self, result: Mapping[str, Any] | None = None) -> None:
        """The work is done and was read back; `result` is what a caller may want to know of it."""
        self._finish(JobStatus.SUCCEEDED, None, result)

    @property
    def has_begun(self) -> bool:
        """Whether a worker ever had it, so that something may have been made."""
        return self.started_at is not None

    def request_cancel(self, on_cancel: OnCancel) -> None:
        """Ask the worker that has this job, or the next one, to cancel it.

        Raises:
            IllegalTransitionError: it is over.
        """
        asked = (
            Job.update(cancel_requested=on_cancel, not_before=None)
            .where((Job.id == self.id) & Job.status.in_(LIVE))
            .execute()
        )
        if not asked:
            raise IllegalTransitionError(f"Job {self.id}", "over", JobStatus.CANCELLED)
        self.cancel_requested, self.not_before = on_cancel, None
        JobEvent.add(self.id, "job.cancelling", {"on_cancel": on_cancel})

    def refuse_cancel(self) -> None:
        """It is too late: the job goes to its end."""
        self._update_held(cancel_requested=None)
        self.cancel_requested = None
        JobEvent.add(self.id, "job.cancel_refused", {})

    def reload_cancel(self) -> None:
        """Read again whether it shall be cancelled, and how."""
        self.cancel_requested = Job.get_by_id(self.id).cancel_requested

    def mark_cancelled(self, result: Mapping[str, Any] | None = None) -> None:
        """Whoever has it has stopped the work, and records what is left of it."""
        self._finish(JobStatus.CANCELLED, None, result)

    def withdraw(self) -> None:
        """Nobody shall do the work. It must not have begun.

        Raises:
            IllegalTransitionError: it has.
        """
        at = now()
        cancelled = (
            Job.update(status=JobStatus.CANCELLED, finished_at=at)
            .where((Job.id == self.id) & (Job.status == JobStatus.QUEUED) & Job.started_at.is_null())
            .execute()
        )
        if not cancelled:
            raise IllegalTransitionError(f"Job {self.id}", "no longer queued", JobStatus.CANCELLED)
        self.status, self.finished_at = JobStatus.CANCELLED, at
        JobEvent.add(self.id, "job.finished", {"status": JobStatus.CANCELLED, "error": None})
        announce_end(self)

    def mark_failed(self, error: JobError) -> None:
        """The work ended without its result."""
        self._finish(JobStatus.FAILED, error)

    def hand_over(self, *, counted: bool = False) -> None:
        """Put the job back into the queue for another worker.

        Args:
            counted: whether the attempt counts: it does when it was in vain.
        """
        attempt = {} if counted else {"attempt": Job.attempt - 1}
        self._move(JobStatus.QUEUED, lease_owner=None, lease_expires_at=None, **attempt)

    def put_off(self, error: JobError, pause_seconds: float) -> None:
        """Put the job back into the queue after a failure that may pass; the error stays readable meanwhile."""
        due, document = now() + timedelta(seconds=pause_seconds), error.model_dump()
        self._move(JobStatus.QUEUED, not_before=due, lease_owner=None, lease_expires_at=None, error=document)
        JobEvent.add(self.id, "job.put_off", {"until": due.isoformat(), "error": document})

    @classmethod
    def cancel_scheduled(cls, server: Server) -> None:
        """Cancel what was to be done with a server later."""
        for job in cls.select().where(
            (cls.server == server) & (cls.status == JobStatus.QUEUED) & cls.run_after.is_null(False)
        ):
            job.withdraw()

    @classmethod
    def count_queued(cls, owner_id: int | None = None) -> int:
        """How many jobs wait for a worker, scheduled ones left out; with `owner_id` only on this user's servers."""
        wait = (cls.status == JobStatus.QUEUED) & cls.run_after.is_null()
        query = cls.select().where(wait if owner_id is None else wait & (cls.owner_id == owner_id))
        return int(query.count())

    def set_parameters(self, **changes: object) -> None:
        """Change what was asked for, in the row and in this object."""
        parameters = {**self.parameters, **changes}
        Job.update(parameters=parameters).where(Job.id == self.id).execute()
        self.parameters = parameters

    def requeue(self) -> None:
        """Try a failed or cancelled job again from where it stood, with room for further attempts.

        Raises:
            IllegalTransitionError: the job did not end so.
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
                    not_before=None,
                    cancel_requested=None,
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

    def _finish(
        self, status: JobStatus, error: JobError | None, result: Mapping[str, Any] | None = None
    ) -> None:
        told = {
            "finished_at": now(),
            "error": error.model_dump() if error else None,
            "result": None if result is None else dict(result),
        }
        progress = {"progress": 100} if status is JobStatus.SUCCEEDED else {}
        self._move(status, lease_owner=None, lease_expires_at=None, cancel_requested=None, **progress, **told)
        for name, value in told.items():
            setattr(self, name, value)
        JobEvent.add(self.id, "job.finished", {"status": status, "error": self.error})
        announce_end(self)

    def _move(self, wanted: JobStatus, **columns: object) -> None:
        if wanted not in TRANSITIONS[JobStatus(self.status)]:
            raise IllegalTransitionError(f"Job {self.id}", self.status, wanted)
        self._update_held(status=wanted, **columns)
        self.status = wanted

    def _update_held(self, **columns: object) -> None:
        columns = columns or {"fence": Job.fence}
        if not Job.update(**columns).where(_held(self.id, self.fence)).execute():
            raise LeaseLostError(f"Job {self.id} belongs to another worker now.")


Job.add_index(
    Job.index(
        Job.server,
        unique=True,
        name="job_one_live_per_server",
        where=Job.status.in_(LIVE) & Job.run_after.is_null(),
    )
)


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

    @classmethod
    def of_type(cls, job_id: uuid.UUID, type_: str) -> "list[JobEvent]":
        """The events of a job that have a type, oldest first."""
        return list(cls.select().where((cls.job == job_id) & (cls.type == type_)).order_by(cls.seq))


def waiting(at: datetime) -> Any:
    """The condition of jobs that wait for a worker and are due."""
    # One that shall be cancelled waits for nothing.
    due = Job.not_before.is_null() | (Job.not_before <= at) | Job.cancel_requested.is_null(False)
    return (Job.status == JobStatus.QUEUED) & _due(at) & due


def abandoned(at: datetime) -> Any:
    """The condition of running jobs whose worker went silent."""
    return (Job.status == JobStatus.RUNNING) & (Job.lease_expires_at < at)


def _due(at: datetime) -> Any:
    return Job.run_after.is_null() | (Job.run_after <= at)


def _held(job_id: uuid.UUID, fence: int) -> Any:
    return (Job.id == job_id) & (Job.fence == fence) & (Job.status == JobStatus.RUNNING)
