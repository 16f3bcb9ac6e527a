"""Makes backups."""

from datetime import UTC, datetime

from jotunheim.actions.backup import subject
from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import load as load_server
from jotunheim.actions.server.playbook import succeed
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.jobs import Job

PLAYBOOK = "backup_create.yml"


def create(job: Job, context: ActionContext) -> None:
    """Make a backup and find it on its storage; earlier attempts of its server that came to nothing are forgotten.

    Result: `{"volume": "local:backup/…", "size_bytes": 1073741824}`.

    Raises:
        ServerDeploymentError: the run failed, or the storage does not show the backup.
        LeaseLostError: the job belongs to another worker now.
    """
    backup = _wanted(job)
    made = subject.run(PLAYBOOK, "present", job, backup, context)
    if made is None and not job.check_only:
        raise ServerDeploymentError(
            "read_back_failed", "The storage does not show the backup.", retryable=True
        )

    def record() -> None:
        assert made is not None
        backup.mark_ready(made["volume"], made["size_bytes"], datetime.fromtimestamp(made["taken_at"], UTC))
        if backup.server_id is not None:
            Backup.forget_failed(backup.server_id)

    shown = {name: made[name] for name in ("volume", "size_bytes")} if made else None
    succeed(job, record, shown)


def _wanted(job: Job) -> Backup:
    """The backup of the job; a preview's is no row."""
    return Backup.to_be_made(load_server(job), job.parameters) if job.check_only else subject.load(job)
