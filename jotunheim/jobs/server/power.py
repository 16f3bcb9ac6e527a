"""`server.power`: started, stopped, restarted."""

from jotunheim.actions.server import power
from jotunheim.actions.server.playbook import load
from jotunheim.data.job import JobType
from jotunheim.data.server.status import PowerAction
from jotunheim.jobs.kind import JobKind
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.servers.power import assert_allowed


def start(job: Job) -> None:
    """Refuse to start a server that was suspended since the job was asked for."""
    assert_allowed(load(job), PowerAction(job.parameters["action"]))


KIND = JobKind(JobType.POWER, power.change_power, start)
