"""`server.suspend` and `server.unsuspend`."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import cancel, suspension
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import PlanOutdatedError
from jotunheim.exceptions.service import ConflictError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.turns import SWEEP
from jotunheim.services.servers import live
from jotunheim.services.traffic.enforcement import QUOTA


def start(job: Job) -> None:
    """Record the suspension, which may have ended since the job was asked for.

    Raises:
        ConflictError: it has, and it was the sweep that asked: that one only holds on to what somebody wanted.
    """
    server = load(job)
    if job.requested_by == SWEEP:
        if not server.is_suspended:
            raise ConflictError(f"Server {server.name} is no longer suspended.")
        return
    server.suspend(job.parameters["reason"], by_quota=job.requested_by == QUOTA)


def start_unsuspending(job: Job) -> None:
    """See to it that quota takes back only what it did.

    Raises:
        ConflictError: it was quota that asked, and by now a person wants the server to be suspended.
    """
    server = load(job)
    if job.requested_by == QUOTA and not server.suspended_by_quota:
        raise ConflictError(f"Server {server.name} is not suspended by quota.")


def suspend(job: Job, context: ActionContext) -> None:
    """Note whether the server runs, then stop it."""
    _remember(job, context)
    suspension.suspend(job, context)


def unsuspend(job: Job, context: ActionContext) -> None:
    """Bring the server back; one that was never stopped stays as it is."""
    _remember(job, context)
    suspension.unsuspend(job, context)


def _remember(job: Job, context: ActionContext) -> None:
    """Note whether the server runs. Later attempts find it stopped: the first answer stands."""
    server = load(job)
    if job.check_only or server.suspended_from is not None:
        return
    power = live.power(server, context.keyring, context.settings)
    with transaction():
        job.assert_lease()
        server.remember_before_suspension(power)


def fail(job: Job, error: JotunheimError) -> None:
    """Take a suspension back that was to be applied as a plan, and was not since something has moved."""
    server: Server | None = job.server
    if server is None or server.suspended_at is None or error.code != PlanOutdatedError.code:
        return
    if server.suspended_at >= job.created_at:  # else it was suspended before
        server.unsuspend()


KINDS = (
    JobKind(JobType.SUSPEND, suspend, start, fail, cancel=cancel.take_back_suspension),
    JobKind(JobType.UNSUSPEND, unsuspend, start_unsuspending, cancel=cancel.take_back_unsuspension),
)
