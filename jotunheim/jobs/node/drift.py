"""`node.drift`: the VMs of a node's servers are compared with what is recorded of them. Nothing is changed on it."""

from collections import Counter
from collections.abc import Sequence

from jotunheim.actions.context import ActionContext
from jotunheim.actions.node import drift as compare
from jotunheim.data.job import JobType
from jotunheim.exceptions.repository import ProxmoxRequestError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs.kind import JobKind
from jotunheim.jobs.node import reading
from jotunheim.repositories.peewee import turns
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.repositories.peewee.drifts import Compared
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.nodes import sync
from jotunheim.services.servers import drift

SKIPPED = "skipped"


def run(job: Job, context: ActionContext) -> None:
    """Ask the node what it has, then look at its servers, batch by batch; between two, jobs that wait go first.

    Raises:
        ServerDeploymentError: the node is gone from our records, or gives no usable answer; or a run was stopped.
        LeaseLostError: the job belongs to another worker now.
    """
    node = reading.node_of(job)
    drift.begin(job)
    _ask(job, node, context)
    left = drift.waiting(job, node)
    size = context.settings.drift_batch_servers
    counts = Counter(job.parameters.get("counts", {}))
    while left:
        batch, left = left[:size], left[size:]
        with reading.step(job, f"Look at {len(batch)} servers, {len(left)} left"):
            found = compare.compare(job, context, node, batch)
        counts += _record(job, found, context)
        if left and turns.is_anybody_waiting():
            with transaction():
                job.set_parameters(counts=dict(counts))
                job.hand_over()
            return
    with transaction():
        job.mark_succeeded(dict(counts))


def _ask(job: Job, node: Node, context: ActionContext) -> None:
    """A sync: it notices VMs that have moved, and suspended servers that run. Nobody else is asked when it fails."""
    with reading.step(job, "Ask the node what it has"):
        asked_at = now()
        try:
            sync.record(node, sync.look(node, context.keyring, context.settings), context.settings)
        except ProxmoxRequestError as error:
            sync.record_failure(node, error)
            left = [Compared(server, asked_at, error=error) for server in drift.waiting(job, node)]
            _record(job, left, context)
            with transaction():
                job.assert_lease()
                job.set_parameters(
                    since=None, counts={}
                )  # for somebody who tries again: nothing of it is done
            # Not to be tried again by itself: the next sweep comes.
            raise ServerDeploymentError(error.code, error.message, hint=error.hint) from None


def _record(job: Job, found: Sequence[Compared], context: ActionContext) -> Counter[str]:
    counts: Counter[str] = Counter()
    for compared in found:
        counts[drift.record(job, compared, context.settings) or SKIPPED] += 1
    return counts


KIND = JobKind(JobType.NODE_DRIFT, run, cancel=reading.cancel)
