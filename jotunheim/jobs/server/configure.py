"""`server.configure`: a server's VM as it is recorded."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import cancel, configure
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType, OnCancel
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.servers.configure import put_back, revert


def fail(job: Job, error: JotunheimError) -> None:
    """Record what was before."""
    if job.server is not None:
        revert(job.server, job, error)


def take_back(job: Job, context: ActionContext) -> None:
    """Record what was before, unless the change shall be kept, and bring the VM to what is recorded."""
    if job.cancel_requested == OnCancel.CLEANUP:
        with transaction():
            job.assert_lease()
            put_back(load(job), job.parameters)
    cancel.assert_change(job, context)


KIND = JobKind(JobType.CONFIGURE, configure.configure, fail=fail, cancel=take_back)
