"""Whether there is room for another job, and what can be done to one: trying it again, cancelling it."""

import uuid

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.data.job import JobStatus, JobType, JobView, OnCancel
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.service import ConflictError, ForbiddenError, QueueFullError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.database import locking, transaction
from jotunheim.repositories.peewee.jobs import LIVE, Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.backups.requests import RESTORABLE
from jotunheim.services.jobs import find_job, read_job
from jotunheim.services.servers import configure, delete, firewall
from jotunheim.services.servers.requests import READY, assert_free
from jotunheim.services.servers.withdraw import withdraw
from jotunheim.settings import Settings

_RETRYABLE = {
    JobType.BUILD: frozenset({ServerStatus.BUILD_FAILED}),
    JobType.DELETE: delete.DELETABLE,
    JobType.BACKUP_RESTORE: RESTORABLE,
    JobType.BACKUP_LOCK: RESTORABLE,
    JobType.BACKUP_UNLOCK: RESTORABLE,
    JobType.BACKUP_DELETE: RESTORABLE,
}
"""The server's statuses in which a failed job can be tried again; for all other types: ready."""


def assert_room(actor: Actor, settings: Settings) -> None:
    """Make sure that another job may be queued: by anybody, and by this caller.

    Raises:
        QueueFullError: as many wait as may wait.
    """
    if actor.role != ADMIN and Job.count_queued(actor.user_id) >= settings.owner_queue_limit:
        raise QueueFullError(f"{settings.owner_queue_limit} jobs of yours wait already.")
    if Job.count_queued() >= settings.queue_limit:
        raise QueueFullError(f"{settings.queue_limit} jobs wait already.")


def retry_job(id_: uuid.UUID, owner: Actor | None = None) -> JobView:
    """Put a failed or cancelled job back into the queue; it continues from where it stood.

    Args:
        owner: only a job that this user asked for, on a server of theirs.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: somebody else asked for it.
        IllegalTransitionError: the job did not end so.
        ConflictError: what it needs is gone, or the server is not what it was when the job ended.
        LockedError: another job has its server.
    """
    with transaction():
        job = _find(id_, owner)
        server = _server_of(job)
        if server is None and job.server_uuid is not None and not job.check_only:
            raise ConflictError("The server of this job is gone.")
        if server is not None:
            _assert_repeatable(job, server)
            if job.type == JobType.SNAPSHOT_ROLLBACK and job_history.others_worked_since(job):
                # Whoever stopped or started it in the meantime, meant it.
                job.set_parameters(start=server.power == Power.RUNNING and not server.is_suspended)
        job.requeue()
        if job.type == JobType.CONFIGURE and server is not None and not job.check_only:
            configure.record_again(server, job.parameters)
        if job.type == JobType.FIREWALL and server is not None and not job.check_only:
            firewall.record_again(server, job.parameters)
        return read_job(id_)


def cancel_job(id_: uuid.UUID, on_cancel: OnCancel, owner: Actor | None = None) -> JobView:
    """Cancel a job: at once while nobody has begun it, else by the worker that has it.

    Args:
        on_cancel: what becomes of what it has made so far.
        owner: only a job that this user asked for, on a server of theirs.

    Returns:
        The job. While it is still queued or running, a worker has to be woken.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: somebody else asked for it.
        ConflictError: it is over.
    """
    with transaction():
        job = _find(id_, owner)
        if job.status not in LIVE:
            raise ConflictError(f"Job {job.id} is {job.status}; there is nothing to cancel.")
        if job.status == JobStatus.QUEUED and not job.has_begun:
            server = _server_of(job)  # before the job's row, as all requests do
            job.withdraw()
            if server is not None and not job.check_only:
                withdraw(job, server, on_cancel)
        else:
            job.request_cancel(on_cancel)
        return read_job(id_)


def _find(id_: uuid.UUID, owner: Actor | None) -> Job:
    job = find_job(id_, owner.user_id if owner else None)
    if owner and job.requested_by != owner.email:
        raise ForbiddenError("Somebody else asked for this job.")
    return job


def _server_of(job: Job) -> Server | None:
    """The job's server, which nobody else changes until the transaction ends."""
    found: Server | None = locking(Server.select().where(Server.id == job.server_id), Server).first()
    return found


def _assert_repeatable(job: Job, server: Server) -> None:
    """Make sure that a failed job, tried again, would do what was meant by it, and nothing else."""
    assert_free(server, _RETRYABLE.get(JobType(job.type), READY))
    if job.check_only:
        return
    if job.type == JobType.PASSWORD:
        raise ConflictError("The password was erased when the job ended.", hint="Ask for a new one.")
    if job.type == JobType.BACKUP_RESTORE and job_history.others_worked_since(job):
        raise ConflictError("Others have worked on the server since this job ended.", hint="Ask for it anew.")
    if job.type == JobType.REBUILD and server.scratch_vmid is None:
        # The VMID that it was to use is anybody's again.
        raise ConflictError("The server was rebuilt since this job failed.", hint="Ask for it anew.")
