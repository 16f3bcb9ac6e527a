"""`backup.delete`: a backup that is no more."""

from jotunheim.actions.backup import cancel, delete, subject
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import BackupProtectedError
from jotunheim.exceptions.service import ProtectedError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.backups import sources


def start(job: Job) -> None:
    """Record that the backup is being removed, unless it was locked while the job waited, or is needed.

    Raises:
        ProtectedError: it was locked.
        ConflictError: a server is being made from it.
    """
    backup = subject.load(job)
    if backup.locked:
        raise ProtectedError("The backup was locked meanwhile.", hint="Unlock it first.")
    sources.assert_unread(backup)
    backup.mark_deleting()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that it was not removed, and that it is locked when its storage says so."""
    backup = subject.find(job)
    if backup is None:
        return
    backup.mark_kept()
    if error.code == BackupProtectedError.code:
        backup.change(locked=True)


KIND = JobKind(JobType.BACKUP_DELETE, delete.delete, start, fail, cancel.go_on)
