"""`server.configure`: a server's VM as it is recorded."""

from jotunheim.actions.server import configure
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job


def fail(job: Job, error: JotunheimError) -> None:
    """Record what was before."""
    if job.server is not None:
        configure.revert(job, error)


KIND = JobKind(JobType.CONFIGURE, configure.configure, fail=fail)
