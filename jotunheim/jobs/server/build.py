"""`server.build`: makes the VM of a server that was recorded."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import build, cancel
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import DataValidationError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs.kind import JobKind
from jotunheim.jobs.server.free_vmid import with_free_vmid
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.backups import sources
from jotunheim.services.proxmox import vmids


def run(job: Job, context: ActionContext) -> None:
    """Build the server; a VMID that the node already uses for something else is replaced."""
    if job.check_only:
        build.preview(job, context)
        return
    with_free_vmid(job, context, build.build, vmids.replace)


def start(job: Job) -> None:
    """Record that the server is being built, also when that is tried again; from then on its backup has to stay.

    Raises:
        ServerDeploymentError: the backup is gone.
        ConflictError, LockedError: it is about to go.
    """
    server = load(job)
    if server.restored_from is not None and server.status != ServerStatus.BUILDING:
        try:
            sources.hold(server.restored_from)
        except DataValidationError:
            raise ServerDeploymentError(
                "backup_not_found", "The backup that the server was to be made from is gone."
            ) from None
    server.mark_building()


def fail(job: Job, error: JotunheimError) -> None:
    """Record that there is no server."""
    del error
    server: Server | None = job.server
    if server is not None and server.status == ServerStatus.BUILDING:
        server.mark_build_failed()


KIND = JobKind(JobType.BUILD, run, start, fail, cancel.take_back_build)
