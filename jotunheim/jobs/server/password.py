"""`server.password`: a new password, which is forgotten when the job ends, however it ends."""

from jotunheim.actions.server import cancel, password
from jotunheim.data.job import JobType
from jotunheim.exceptions import JotunheimError
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server


def fail(job: Job, error: JotunheimError) -> None:
    """Forget the password."""
    del error
    server: Server | None = job.server
    if server is not None:
        Secret.erase(server.password_reference)


KIND = JobKind(JobType.PASSWORD, password.set_password, fail=fail, cancel=cancel.forget_password)
