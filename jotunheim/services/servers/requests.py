"""What all requests about a server that exists share: finding it, its version, its lock, its queued job."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.repository import NotFoundError, UniquenessError
from jotunheim.exceptions.service import ConflictError, LockedError
from jotunheim.repositories.peewee.database import locking
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import resources
from jotunheim.services.servers import plans
from jotunheim.services.servers.plans import AT_ONCE, Manner

MAX_ATTEMPTS = 5
"""How often workers may be lost in the middle of a job before it fails."""
READY = frozenset({ServerStatus.READY})
PARAMETERS = {
    "addresses_before": "addresses",
    "addresses_after": "addresses",
    "scratch_vmid": "vmid",
    "snapshots": "snapshots",
}
"""What a job's parameters are called when they are not those that a plan has shown; all others are our record's."""


@dataclass(frozen=True)
class Asked:
    """A server, the job that was queued for it, and a generated password, which is shown once."""

    server: Server
    job: Job
    root_password: str | None = field(default=None, repr=False)


def find(id_: uuid.UUID, owner_id: int | None = None, if_match: str | None = None) -> Server:
    """A server with its node, location and template; within a transaction nobody else changes it until that ends.

    Args:
        owner_id: only a server of this user.
        if_match: the version that the caller knows.

    Raises:
        NotFoundError: there is none, or it is somebody else's.
        PreconditionFailedError: it has another version.
    """
    query = Server.with_places().where(Server.id == id_)
    if owner_id is not None:
        query = query.where(Server.owner == owner_id)
    server: Server | None = locking(query, Server).first()
    if server is None:
        raise NotFoundError("server", id_)
    assert_version(server, if_match)
    return server


def assert_version(server: Server, if_match: str | None) -> None:
    """Raise PreconditionFailedError when the caller knows another version of the server."""
    resources.assert_version("server", server, if_match)


def assert_free(server: Server, statuses: Collection[ServerStatus] = READY) -> None:
    """Make sure that no job has the server, and that its status allows the request.

    Raises:
        LockedError: a job has it.
        ConflictError: its status is another one.
    """
    assert_unlocked(server)
    if server.status not in statuses:
        raise ConflictError(f"Server {server.name} is {server.status}; this needs a server that is ready.")


def assert_unlocked(server: Server) -> None:
    """Raise LockedError when a job has the server."""
    job = Job.blocking(server)
    if job is not None:
        raise LockedError(job.id, job.type)


def assert_not_suspended(server: Server) -> None:
    """Raise ConflictError when the server is suspended."""
    if server.is_suspended:
        raise ConflictError(
            f"Server {server.name} is suspended: {server.suspension_reason}", hint="Unsuspend it first."
        )


def enqueue(
    server: Server,
    type_: JobType,
    actor: Actor,
    parameters: Mapping[str, Any] | None = None,
    manner: Manner = AT_ONCE,
    *,
    run_after: datetime | None = None,
) -> Job:
    """Queue a job about a server; from its time on the server is locked by it.

    Raises:
        LockedError: another job was queued at the same time.
        ConflictError: it is not the job that the plan has shown, or another one applies that.
    """
    if manner.planned is not None:
        plans.assert_same(manner.planned, parameters or {}, PARAMETERS)
    job = _enqueue(server, type_, actor, parameters or {}, check=manner.check, run_after=run_after)
    plans.settle(manner, job, server)
    return job


def _enqueue(
    server: Server,
    type_: JobType,
    actor: Actor,
    parameters: Mapping[str, Any],
    *,
    check: bool,
    run_after: datetime | None,
) -> Job:
    try:
        return Job.enqueue(
            type=type_,
            server=server,
            node=server.node_id,
            max_attempts=MAX_ATTEMPTS,
            requested_by=actor.email,
            request_id=actor.request_id,
            parameters=dict(parameters),
            check_only=check,
            run_after=run_after,
        )
    except UniquenessError:
        job = Job.blocking(server)
        if job is None:
            raise
        raise LockedError(job.id, job.type) from None
