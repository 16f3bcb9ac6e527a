"""`server.rebuild`: a new system disk for a server."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import cancel, rebuild
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import PlanOutdatedError
from jotunheim.jobs.kind import JobKind
from jotunheim.jobs.server.free_vmid import with_free_vmid
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.proxmox import vmids
from jotunheim.services.servers.requests import assert_not_suspended


def run(job: Job, context: ActionContext) -> None:
    """Rebuild the server; a VMID for the new disk that the node uses for something else is replaced."""
    if job.check_only:
        rebuild.rebuild(job, context)
    else:
        with_free_vmid(job, context, rebuild.rebuild, vmids.replace_scratch)


def start(job: Job) -> None:
    """Record that the server is being rebuilt, also when that is tried again; not while it is suspended."""
    server = load(job)
    assert_not_suspended(server)
    server.mark_rebuilding()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that the server is what it was; the job says what it left, and continues when it is tried again.

    A plan that was not applied since something has moved leaves nothing to continue.
    """
    server: Server | None = job.server
    if server is None:
        return
    if server.status == ServerStatus.REBUILDING:
        server.mark_rebuild_failed()
    plan = Plan.applied_in(job.id)
    if plan is not None and error.code == PlanOutdatedError.code and plan.seen["scratch"] is None:
        server.change(scratch_vmid=None)
        Secret.erase(server.password_reference)


KIND = JobKind(JobType.REBUILD, run, start, fail, cancel.give_rebuild_up)
