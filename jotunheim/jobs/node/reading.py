"""What jobs that only read from a node share: they run no playbook, so they record their steps themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

from jotunheim.actions.context import ActionContext
from jotunheim.data.job import StepStatus
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job


def node_of(job: Job) -> Node:
    """The node that a job is about.

    Raises:
        ServerDeploymentError: it is gone from our records.
    """
    node: Node | None = Node.get_or_none(Node.id == job.node_id)
    if node is None:
        raise ServerDeploymentError("not_found", "The node of this job is gone.")
    return node


@contextmanager
def step(job: Job, name: str) -> Iterator[None]:
    """A part of the work that the job shows as a step; raises LeaseLostError."""
    with transaction():
        job.assert_lease()
        begun = JobStep.begin(job, name)
    status = StepStatus.FAILED
    try:
        yield
        status = StepStatus.OK
    finally:
        with transaction():
            job.assert_lease()
            begun.end(status, changed=False, diff=None, upids=[])


def cancel(job: Job, context: ActionContext) -> None:
    """There is nothing to take back."""
    del context
    with transaction():
        job.mark_cancelled()
