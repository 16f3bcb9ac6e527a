"""Deleting: at once, later, or when a server's time is over."""

from datetime import timedelta

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobStatus, JobType
from jotunheim.data.server.requests import DeleteRequest
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.service import ConflictError, LockedError, ProtectedError
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.requests import Asked, assert_free, enqueue

DELETABLE = frozenset({ServerStatus.READY, ServerStatus.BUILD_FAILED, ServerStatus.DELETE_FAILED})
EXPIRY = "expiry"
"""Who asks when a server's time is over."""
EXPIRY_RETRY = timedelta(minutes=10)
"""How long an expired server is left alone after its deletion failed."""


def delete_server(server: Server, wanted: DeleteRequest, actor: Actor, *, check: bool) -> Asked:
    """Queue the deletion of a server, in place of one that was scheduled before.

    Raises:
        LockedError: a job has the server.
        ProtectedError: it refuses to be deleted.
        ConflictError: its status does not allow it.
    """
    assert_free(server, DELETABLE)
    assert_unprotected(server)
    if not check:
        Job.cancel_scheduled(server)
    run_after = now() + timedelta(seconds=wanted.delay_seconds) if wanted.delay_seconds else None
    parameters = wanted.model_dump(mode="json", include={"purge", "backups"})
    job = enqueue(
        server, JobType.DELETE, actor, parameters, check=check, run_after=None if check else run_after
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

    One that is locked is looked at again next time, one whose deletion failed after a while.
    """
    jobs = []
    for server in Server.expired(now()):
        last = Job.last_of(server, JobType.DELETE)
        if (
            last is not None
            and last.status == JobStatus.FAILED
            and last.finished_at is not None
            and now() - last.finished_at < EXPIRY_RETRY
        ):
            continue
        actor = Actor(
            user_id=0, email=EXPIRY, role="admin", scopes=frozenset(), request_id=f"expiry-{server.id}"
        )
        try:
            with transaction():
                jobs.append(delete_server(server, DeleteRequest(), actor, check=False).job)
        except (LockedError, ConflictError, ProtectedError):
            continue
    return jobs
