"""Suspension: the owner must not run the server, until it is unsuspended."""

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.requests import SuspendRequest
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free, enqueue


def suspend(server: Server, wanted: SuspendRequest, actor: Actor, manner: Manner) -> Asked:
    """Mark a server as suspended, which holds from now on, and queue the job that stops it.

    Asked again, it gives the new reason and makes sure once more that the server is stopped.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
    """
    assert_free(server)
    job = enqueue(server, JobType.SUSPEND, actor, {"reason": wanted.reason}, manner)
    if not manner.check:
        server.suspend(wanted.reason)
    return Asked(server, job)


def unsuspend(server: Server, actor: Actor, manner: Manner) -> Asked:
    """Queue the job that brings a server back to where it was before; until then it stays suspended.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready, or not suspended.
    """
    assert_free(server)
    if not server.is_suspended:
        raise ConflictError(f"Server {server.name} is not suspended.")
    return Asked(server, enqueue(server, JobType.UNSUSPEND, actor, {}, manner))
