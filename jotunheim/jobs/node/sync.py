"""`node.sync`: a node is asked what it has. Nothing is changed on it, so no playbook is run."""

from jotunheim.actions.context import ActionContext
from jotunheim.data.job import JobType
from jotunheim.exceptions.repository import ProxmoxRequestError
from jotunheim.jobs.kind import JobKind
from jotunheim.jobs.node import reading
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.nodes import sync


def run(job: Job, context: ActionContext) -> None:
    """Ask the node, and record what it told.

    Raises:
        ServerDeploymentError: the node is gone from our records.
        ProxmoxRequestError: it gives no usable answer.
        LeaseLostError: the job belongs to another worker now.
    """
    node = reading.node_of(job)
    with reading.step(job, "Ask the node what it has"):
        try:
            seen = sync.look(node, context.keyring, context.settings)
        except ProxmoxRequestError as error:
            sync.record_failure(node, error)
            raise
    with reading.step(job, "Record it"):
        outcome = sync.record(node, seen, context.settings)
    with transaction():
        job.mark_succeeded(outcome.summary(seen))


KIND = JobKind(JobType.NODE_SYNC, run, cancel=reading.cancel)
