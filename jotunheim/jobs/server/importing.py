"""`server.import`: a VM that somebody else has made becomes a server."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server import importing
from jotunheim.actions.server.cancel import TooLateError
from jotunheim.data.job import JobType, OnCancel
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.departure import forget
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server


def run(job: Job, context: ActionContext) -> None:
    """Import the server, or find out what that would change."""
    if job.check_only:
        importing.preview(job, context)
    else:
        importing.adopt(job, context)


def fail(job: Job, error: JotunheimError) -> None:
    """Forget the server: its VM is not ours, whether or not it has the mark already, and must not go with the record."""
    del error
    server: Server | None = job.server
    if server is not None and server.status == ServerStatus.BUILDING:
        forget(server)


def take_back(job: Job, context: ActionContext) -> None:
    """Take the mark off again and forget the server, unless both shall stay."""
    if job.cancel_requested == OnCancel.KEEP:
        raise TooLateError("What is kept of an import is the whole of it.")
    importing.take_back(job, context)


KIND = JobKind(JobType.IMPORT, run, fail=fail, cancel=take_back)
