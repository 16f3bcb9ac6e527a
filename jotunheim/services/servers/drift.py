"""What must be so on a node though nobody asks for it: suspended servers are stopped, our records are true."""

from datetime import datetime

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.service import ConflictError, LockedError
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers import live
from jotunheim.services.servers.requests import assert_free, enqueue
from jotunheim.settings import Settings

SWEEP = "drift sweep"
"""Who asks when a suspended server runs."""


def sweep(keyring: Keyring, settings: Settings) -> list[Job]:
    """Ask every node with servers which of them run: note it, and queue the stop of suspended ones that do.

    One request a node, several nodes at once. A node that does not answer is left for the next sweep.
    """
    jobs = []
    asked_at = now()
    for node, powers in live.powers(Server.nodes(), keyring, settings):
        for server in Server.on(node):
            power = powers.get(server.vmid)
            if power is None or server.status != ServerStatus.READY:
                continue
            with transaction():
                if not Job.busy_since(server, asked_at):  # else the answer may be older than our record
                    server.record_power(power)
            if server.is_suspended and power is Power.RUNNING:
                job = _stop_again(server, asked_at)
                jobs += [job] if job else []
    return jobs


def _stop_again(server: Server, asked_at: datetime) -> Job | None:
    actor = Actor(user_id=0, email=SWEEP, role="admin", scopes=frozenset(), request_id=f"drift-{server.id}")
    try:
        with transaction():
            current = Server.get_or_none(Server.id == server.id)
            if current is None or not current.is_suspended or Job.busy_since(current, asked_at):
                return None  # unsuspended since the node was asked
            assert_free(current)
            return enqueue(current, JobType.SUSPEND, actor, {"reason": current.suspension_reason})
    except (LockedError, ConflictError):
        return None
