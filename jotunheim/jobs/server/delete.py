"""`server.delete`: a server that is no more."""

from jotunheim.actions.server import cancel, delete
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import PlanOutdatedError
from jotunheim.exceptions.service import ConflictError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.delete import EXPIRY, assert_unprotected


def start(job: Job) -> None:
    """Record that the server is being deleted, unless it was protected or extended while the job waited.

    Raises:
        ProtectedError: it was protected.
        ConflictError: its time is not over any more.
    """
    server = load(job)
    assert_unprotected(server)
    if job.requested_by == EXPIRY and server.status != ServerStatus.DELETING and not server.is_expired:
        raise ConflictError(f"Server {server.name} was extended meanwhile.")
    server.mark_deleting()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that something of the server may be left, unless nothing was done."""
    server: Server | None = job.server
    if server is None or server.status != ServerStatus.DELETING:
        return
    plan = Plan.applied_in(job.id)
    if plan is not None and error.code == PlanOutdatedError.code:
        server.mark_kept(ServerStatus(plan.record["status"]))
    else:
        server.mark_delete_failed()


KIND = JobKind(JobType.DELETE, delete.delete, start, fail, cancel.stop_delete)
