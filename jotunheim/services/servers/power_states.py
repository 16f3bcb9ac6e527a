"""What must be so on a node though nobody asks for it: suspended servers are stopped, our records are true."""

from collections.abc import Mapping
from datetime import datetime

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.service import ConflictError, LockedError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.turns import SWEEP
from jotunheim.services.servers import pauses
from jotunheim.services.servers.requests import assert_free, enqueue


def settle(node: Node, powers: Mapping[int, Power], asked_at: datetime) -> list[Job]:
    """Note which servers of a node run, and queue the stop of suspended ones that do.

    Args:
        powers: what the node told, by VMID.
        asked_at: when it was asked.
    """
    jobs = []
    for server in Server.on(node):
        power = powers.get(server.vmid)
        if power is None or server.status != ServerStatus.READY:
            continue
        if power != server.power:
            with transaction():
                if not job_history.busy_since(
                    server, asked_at
                ):  # else the answer may be older than our record
                    server.record_power(power)
        if server.is_suspended and power is Power.RUNNING and not pauses.resting(SWEEP, [server.id]):
            job = _stop_again(server, asked_at)
            jobs += [job] if job else []
    return jobs


def _stop_again(server: Server, asked_at: datetime) -> Job | None:
    try:
        with transaction():
            current = Server.get_or_none(Server.id == server.id)
            if current is None or not current.is_suspended or job_history.busy_since(current, asked_at):
                return None  # unsuspended since the node was asked
            assert_free(current)
            return enqueue(
                current, JobType.SUSPEND, Actor.of_service(SWEEP), {"reason": current.suspension_reason}
            )
    except (LockedError, ConflictError):
        return None
