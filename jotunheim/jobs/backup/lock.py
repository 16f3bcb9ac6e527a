"""`backup.lock` and `backup.unlock`: whether a backup refuses to be deleted."""

from jotunheim.actions.backup import cancel, lock
from jotunheim.data.job import JobType
from jotunheim.jobs.kind import JobKind

KINDS = (
    JobKind(JobType.BACKUP_LOCK, lock.lock, cancel=cancel.go_on),
    JobKind(JobType.BACKUP_UNLOCK, lock.unlock, cancel=cancel.go_on),
)
