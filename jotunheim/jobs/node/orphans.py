"""`node.scan`: a node is asked what it has that is in no record; `orphan.prune`: one such thing is removed."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.node import prune
from jotunheim.actions.server.cancel import TooLateError
from jotunheim.data.job import JobType
from jotunheim.exceptions.service import ConflictError
from jotunheim.jobs.kind import JobKind
from jotunheim.jobs.node import reading
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.nodes import orphans, scans


def scan(job: Job, context: ActionContext) -> None:
    """Look for orphans, and record which there are.

    Raises:
        ServerDeploymentError: the node is gone from our records.
        ProxmoxRequestError: it gives no usable answer.
        LeaseLostError: the job belongs to another worker now.
    """
    node = reading.node_of(job)
    with reading.step(job, "Look for what is in no record"):
        seen = scans.look(node, context.keyring, context.settings)
    with reading.step(job, "Record it"):
        outcome = scans.record(node, seen, context.settings)
    with transaction():
        job.mark_succeeded(outcome)


def start(job: Job) -> None:
    """Make sure that it is still in no record.

    Raises:
        ConflictError: it is in one by now.
    """
    orphan = prune.load(job)
    if orphans.is_ours(orphan):
        raise ConflictError(f"{orphan.name} is in our records by now; it was not touched.")


def go_on(job: Job, context: ActionContext) -> None:
    """Raise TooLateError: what has begun goes to its end."""
    del context
    raise TooLateError(f"Job {job.id} has begun to remove it.")


KINDS = (
    JobKind(JobType.NODE_SCAN, scan, cancel=reading.cancel),
    JobKind(JobType.ORPHAN_PRUNE, prune.prune, start, cancel=go_on),
)
