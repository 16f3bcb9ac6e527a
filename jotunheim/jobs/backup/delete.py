"""`backup.delete`: a backup that is no more."""

from jotunheim.actions.backup import cancel, delete, subject
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.service import ProtectedError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job


def start(job: Job) -> None:
    """Record that the backup is being removed, unless it was locked while the job waited.

    Raises:
        ProtectedError: it was.
    """
    backup = subject.load(job)
    if backup.locked:
        raise ProtectedError("The backup was locked meanwhile.", hint="Unlock it first.")
    backup.mark_deleting()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that it was not removed."""
    del error
    backup = subject.find(job)
    if backup is not None:
        backup.mark_kept()


KIND = JobKind(JobType.BACKUP_DELETE, delete.delete, start, fail, cancel.go_on)
