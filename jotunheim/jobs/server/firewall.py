"""`server.firewall`: a server's firewall as it is recorded."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import cancel, firewall
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType, OnCancel
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.servers.firewall import put_back, revert


def fail(job: Job, error: JotunheimError) -> None:
    """Record what was before."""
    del error
    if job.server is not None:
        revert(job.server, job)


def take_back(job: Job, context: ActionContext) -> None:
    """Record what was before, unless the change shall be kept, and bring the VM to what is recorded."""
    if job.cancel_requested == OnCancel.CLEANUP:
        with transaction():
            job.assert_lease()
            put_back(load(job), job.parameters)
    cancel.assert_firewall(job, context)


KIND = JobKind(JobType.FIREWALL, firewall.set_firewall, fail=fail, cancel=take_back)
