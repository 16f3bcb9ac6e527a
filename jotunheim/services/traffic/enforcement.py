"""Sees to it that what quota has decided comes about: servers are throttled, suspended, and let go again, by jobs.

A job that works on a server ends first, and none is queued in between: what quota wants is a scheduled job that is due. Who is on a node
that is away, or whose VM is missing, waits for the next sweep; and so do those for whom a node has too many such jobs already, for a
server is locked by its job also while that waits.
"""

import uuid
from collections.abc import Mapping
from functools import partial

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.node.state import NodeStatus
from jotunheim.data.server.change import Restart
from jotunheim.data.server.status import ServerStatus
from jotunheim.repositories.peewee.database import now, transact
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import TrafficThreshold
from jotunheim.services.servers import pauses
from jotunheim.services.servers.requests import enqueue
from jotunheim.services.traffic.quota import Standing, decide, hold, review, standings
from jotunheim.settings import Settings

QUOTA = "quota"
"""Who asks."""
JOBS_PER_NODE = 20
"""How many jobs of quota a node has at once."""
_SUSPENSION = frozenset({JobType.SUSPEND, JobType.UNSUSPEND})
JUST_RATE: Mapping[str, object] = {
    "fields": ["rate"],
    "restart": Restart.NEVER,
    "before": {},
    "after": {},
    "addresses_before": [],
    "addresses_after": [],
}
"""Parameters of a job that sets the rate of the network device as recorded, and nothing else of the VM."""


def enforce(settings: Settings) -> list[Job]:
    """Decide anew about the servers that quota holds to something, and queue what is still to be done; returns the jobs."""
    servers = Server.held_by_quota(TrafficThreshold.in_force())
    found = standings(servers, settings)
    if review(servers, found, settings):
        servers = Server.held_by_quota(TrafficThreshold.in_force())
        found = standings(servers, settings)
    reachable = [
        server for server in servers if server.status == ServerStatus.READY and server.missing_since is None
    ]
    due = [server for server in reachable if _is_due(server, found[server.id])]
    if not due:
        return []
    resting = pauses.resting(QUOTA, [server.id for server in due])
    states = NodeState.of({server.node_id: server.node for server in due}.values())
    live, jobs = Job.live_of_requester(QUOTA), []
    for server in due:
        is_away = states[server.node_id].status == NodeStatus.OFFLINE
        if is_away or server.id in resting or live.get(server.node_id, 0) >= JOBS_PER_NODE:
            continue
        job = transact(partial(_enforce_one, server.id, settings))
        if job is not None:
            live[server.node_id] = live.get(server.node_id, 0) + 1
            jobs.append(job)
    return jobs


def _is_due(server: Server, standing: Standing) -> bool:
    return bool(_unsettled(standing) or _may_go(server, standing) or server.throttle_is_due)


def _unsettled(standing: Standing) -> list[TrafficThreshold]:
    return [row for row in standing.suspends if row.settled_at is None]


def _may_go(server: Server, standing: Standing) -> bool:
    return server.suspended_by_quota and not standing.suspends


def _enforce_one(id_: uuid.UUID, settings: Settings) -> Job | None:
    """Queue the next job that a server needs; None: it needs none, or cannot have one now."""
    server = hold(id_)
    if server is None or server.status != ServerStatus.READY or _is_under_way(server):
        return None
    standing = decide(server, settings)
    if _may_go(server, standing):
        return _queue(server, JobType.UNSUSPEND, {})
    for row in (unsettled := _unsettled(standing)):
        row.settle()
    if unsettled and not server.is_suspended:
        reason = f"{unsettled[0].percent} % of its traffic of {standing.period.name} is used up."
        server.suspend(reason, by_quota=True)
        return _queue(server, JobType.SUSPEND, {"reason": reason})
    if server.throttle_is_due:
        return _queue(server, JobType.CONFIGURE, JUST_RATE)
    return None


def _is_under_way(server: Server) -> bool:
    """Whether something is being done already, or about to be, after which is to be decided anew."""
    live = Job.blocking(server)
    if live is None:
        return False
    return live.requested_by == QUOTA or live.type in _SUSPENSION or Job.is_due_next(server)


def _queue(server: Server, type_: JobType, parameters: Mapping[str, object]) -> Job:
    return enqueue(server, type_, Actor.of_service(QUOTA), parameters, run_after=now())
