"""`node.sync`: a node is asked what it has. Nothing is changed on it, so no playbook is run."""

from collections.abc import Iterator
from contextlib import contextmanager

from jotunheim.actions.context import ActionContext
from jotunheim.data.job import JobType, StepStatus
from jotunheim.exceptions.repository import ProxmoxRequestError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.nodes import sync


def run(job: Job, context: ActionContext) -> None:
    """Ask the node, and record what it told.

    Raises:
        ServerDeploymentError: the node is gone from our records.
        ProxmoxRequestError: it gives no usable answer.
        LeaseLostError: the job belongs to another worker now.
    """
    node: Node | None = Node.get_or_none(Node.id == job.node_id)
    if node is None:
        raise ServerDeploymentError("not_found", "The node of this job is gone.")
    with _step(job, "Ask the node what it has"):
        try:
            seen = sync.look(node, context.keyring, context.settings)
        except ProxmoxRequestError as error:
            sync.record_failure(node, error)
            raise
    with _step(job, "Record it"):
        outcome = sync.record(node, seen)
    with transaction():
        job.mark_succeeded(outcome.summary(seen))


def cancel(job: Job, context: ActionContext) -> None:  # noqa: ARG001 - what every kind of job takes
    """There is nothing to take back."""
    with transaction():
        job.mark_cancelled()


@contextmanager
def _step(job: Job, name: str) -> Iterator[None]:
    with transaction():
        job.assert_lease()
        step = JobStep.begin(job, name)
    status = StepStatus.FAILED
    try:
        yield
        status = StepStatus.OK
    finally:
        with transaction():
            job.assert_lease()
            step.end(status, changed=False, diff=None, upids=[])


KIND = JobKind(JobType.NODE_SYNC, run, cancel=cancel)
