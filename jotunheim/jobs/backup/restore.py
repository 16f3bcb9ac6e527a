"""`backup.restore`: a server as one of its backups has it."""

from jotunheim.actions.backup import cancel, restore
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.restores import has_taken_disks
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.requests import assert_not_suspended


def start(job: Job) -> None:
    """Record that the server is being put back, also when that is tried again; not while it is suspended."""
    server = load(job)
    assert_not_suspended(server)
    server.mark_restoring()


def fail(job: Job, error: JotunheimError) -> None:
    """Record whether the server is what it was, or not whole any more."""
    del error
    server: Server | None = job.server
    if server is None or server.status != ServerStatus.RESTORING:
        return
    if has_taken_disks(job):
        server.mark_restore_failed()
    else:
        server.mark_kept(ServerStatus(job.parameters["status_before"]))


KIND = JobKind(JobType.BACKUP_RESTORE, restore.restore, start, fail, cancel.stop_restore)
