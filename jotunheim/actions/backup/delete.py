"""Removes backups from their storages."""

from jotunheim.actions.backup import subject
from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import succeed
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.jobs import Job

PLAYBOOK = "backup_delete.yml"


def delete(job: Job, context: ActionContext) -> None:
    """Remove a backup, prove that it is gone, and forget it. One that was gone already is forgotten.

    Raises:
        ServerDeploymentError: the run failed.
        LeaseLostError: the job belongs to another worker now.
    """
    backup = subject.load(job)
    left = subject.run(PLAYBOOK, "absent", job, backup, context)
    if left is not None and not job.check_only:
        raise ServerDeploymentError("read_back_failed", "The backup is still there.", retryable=True)
    succeed(job, backup.forget)
