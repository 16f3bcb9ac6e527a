"""`backup.create`: one more backup of a server."""

from jotunheim.actions.backup import cancel, create, subject
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job


def start(job: Job) -> None:
    """Record that the backup is being made, also when that is tried again."""
    subject.load(job).mark_creating()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that it was not made."""
    del error
    backup = subject.find(job)
    if backup is not None:
        backup.mark_failed()


KIND = JobKind(JobType.BACKUP_CREATE, create.create, start, fail, cancel.take_back)
