"""`snapshot.create`, `snapshot.rollback`, `snapshot.delete`."""

from jotunheim.actions.server import cancel, snapshots
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.servers.requests import assert_not_suspended


def start_rollback(job: Job) -> None:
    """Refuse what would bring back a running server that was suspended since the job was asked for."""
    if job.parameters["start"]:
        assert_not_suspended(load(job))


KINDS = (
    JobKind(JobType.SNAPSHOT_CREATE, snapshots.create, cancel=cancel.take_back_snapshot),
    JobKind(JobType.SNAPSHOT_ROLLBACK, snapshots.roll_back, start_rollback, cancel=cancel.stop_rollback),
    JobKind(JobType.SNAPSHOT_DELETE, snapshots.delete),
)
