"""Deleting: at once, later, or when a server's time is over."""

import uuid
from datetime import timedelta

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.requests import DeleteRequest
from jotunheim.data.server.status import ServerStatus
from jotunheim.data.server.view import ServerView
from jotunheim.exceptions.service import ConflictError, ProtectedError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.database import now, previewed, transaction
from jotunheim.repositories.peewee.jobs import LIVE, Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.audit import records
from jotunheim.services.servers import read
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free, enqueue

DELETABLE = frozenset(
    {
        ServerStatus.READY,
        ServerStatus.BUILD_FAILED,
        ServerStatus.RESTORE_FAILED,
        ServerStatus.DELETE_FAILED,
    }
)
EXPIRY = "expiry"
"""Who asks when a server's time is over."""
EXPIRY_RETRY = timedelta(minutes=10)
"""How long an expired server is left alone after its deletion failed."""


def delete_server(server: Server, wanted: DeleteRequest, actor: Actor, manner: Manner) -> Asked:
    """Queue the deletion of a server, in place of one that was scheduled before.

    Raises:
        LockedError: a job has the server.
        ProtectedError: it refuses to be deleted.
        ConflictError: its status does not allow it.
    """
    assert_free(server, DELETABLE)
    assert_unprotected(server)
    if not manner.check:
        Job.cancel_scheduled(server)
    run_after = now() + timedelta(seconds=wanted.delay_seconds) if wanted.delay_seconds else None
    parameters = wanted.model_dump(mode="json", include={"purge", "backups"})
    job = enqueue(
        server, JobType.DELETE, actor, parameters, manner, run_after=None if manner.check else run_after
    )
    return Asked(server, job)


def assert_unprotected(server: Server) -> None:
    """Raise ProtectedError when the server refuses to be deleted."""
    if server.protected:
        raise ProtectedError(
            f"Server {server.name} is protected.", hint="Remove its protection first, if you are sure."
        )


def delete_expired() -> list[Job]:
    """Queue the deletion of the servers whose time is over; returns the jobs.

    A job that works on one ends first, and none is queued in between: the deletion is a scheduled one that is due.
    A server whose deletion failed is left alone for a while.
    """
    found = [_delete_expired(server.id) for server in Server.expired(now())]
    return [job for job in found if job is not None]


def _delete_expired(id_: uuid.UUID) -> Job | None:
    with transaction():
        server = Server.get_or_none(Server.id == id_)
        if server is None or not server.is_expired:  # extended or protected just now
            return None
        last = job_history.last_of(server, JobType.DELETE)
        parameters = DeleteRequest().model_dump(mode="json", include={"purge", "backups"})
        if last is not None and last.status in LIVE:
            if last.run_after is None or last.run_after <= now():
                return None
            parameters = last.parameters  # what was to happen later, happens now
        if last is not None and last.finished_at and now() - last.finished_at < EXPIRY_RETRY:
            return None
        Job.cancel_scheduled(server)
        actor = Actor.of_service(EXPIRY)
        job = enqueue(server, JobType.DELETE, actor, parameters, run_after=now())
        event = records.Event(
            "server.delete",
            records.Who(request_id=actor.request_id),
            records.WORKER,
            resource_type="server",
            resource_id=id_,
            message="Its time is over.",
        )
        records.record(event)
        return job


def protect(server: Server, *, protected: bool, check: bool) -> ServerView:
    """Let a server refuse to be deleted, or no longer; returns it as it is then. A preview is undone.

    Raises:
        ConflictError: it is being deleted already.
    """
    assert_not_going(server)
    with previewed(check):
        server.change(protected=protected)
        return read.read_server(server.id)


def assert_not_going(server: Server) -> None:
    """Raise ConflictError when the server is being deleted: what would keep it comes too late."""
    if server.status == ServerStatus.DELETING:
        raise ConflictError(f"Server {server.name} is being deleted already.")
