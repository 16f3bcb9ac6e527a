"""Protects backups on their storages against removal, or no longer."""

from jotunheim.actions.backup import subject
from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import succeed
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.jobs import Job

LOCK = "backup_lock.yml"
UNLOCK = "backup_unlock.yml"


def lock(job: Job, context: ActionContext) -> None:
    """Lock a backup.

    Raises:
        ServerDeploymentError: the run failed, or the storage does not show the lock.
        LeaseLostError: the job belongs to another worker now.
    """
    _set(LOCK, job, context, locked=True)


def unlock(job: Job, context: ActionContext) -> None:
    """Unlock a backup. Raises as `lock`."""
    _set(UNLOCK, job, context, locked=False)


def _set(playbook: str, job: Job, context: ActionContext, *, locked: bool) -> None:
    backup = subject.load(job)
    found = subject.run(playbook, "locked" if locked else "unlocked", job, backup, context)
    if not job.check_only and (found is None or found["protected"] is not locked):
        raise ServerDeploymentError(
            "read_back_failed", "The storage does not show what was asked for.", retryable=True
        )
    succeed(job, lambda: backup.change(locked=locked))
