"""`backup.create`: one more backup of a server."""

from jotunheim.actions.backup import cancel, create, subject
from jotunheim.actions.server.playbook import load
from jotunheim.data.backup.status import BackupStatus
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.backups.requests import assert_within_limit


def start(job: Job) -> None:
    """Record that the backup is being made, where the server is now, also when that is tried again.

    Raises:
        ResourceLimitExceededError: it failed, and by now the server has as many as it may have.
    """
    server, backup = load(job), subject.load(job)
    if backup.status == BackupStatus.FAILED:
        assert_within_limit(server)
    backup.follow(server)
    backup.mark_creating()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that it was not made."""
    del error
    backup = subject.find(job)
    if backup is not None:
        backup.mark_failed()


KIND = JobKind(JobType.BACKUP_CREATE, create.create, start, fail, cancel.take_back)
