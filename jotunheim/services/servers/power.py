"""Power: start, shut down, stop, reboot, reset."""

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.requests import PowerRequest
from jotunheim.data.server.status import PowerAction
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free, assert_not_suspended, enqueue

_STOPS = frozenset({PowerAction.STOP, PowerAction.SHUTDOWN})


def set_power(server: Server, wanted: PowerRequest, actor: Actor, manner: Manner) -> Asked:
    """Queue a change of a server's power.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready, or it is suspended and would be started.
    """
    assert_free(server)
    assert_allowed(server, wanted.action)
    return Asked(server, enqueue(server, JobType.POWER, actor, wanted.model_dump(mode="json"), manner))


def assert_allowed(server: Server, action: PowerAction) -> None:
    """Raise ConflictError when the server is suspended and the action would start it."""
    if action not in _STOPS:
        assert_not_suspended(server)
