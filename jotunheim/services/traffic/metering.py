"""Counts what servers move: what a node tells of its VMs is added to the sums of their servers.

A reading and the sums that it changes are written in one transaction, which nobody else makes for the same node at that time. So
nothing is counted twice, however many workers ask, and a worker that is killed has counted all of a reading or nothing.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from jotunheim.data.server.status import ServerStatus
from jotunheim.repositories.peewee.database import now, transact, undeletable
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import (
    TrafficHistory,
    TrafficMeter,
    TrafficPeriod,
    TrafficThreshold,
)
from jotunheim.repositories.proxmox.facts import Counters
from jotunheim.services.traffic.counters import Moved, Process, Reading, grown, moved
from jotunheim.services.traffic.periods import months_before, period_at
from jotunheim.settings import Settings

UNBUILT = frozenset({ServerStatus.BUILDING, ServerStatus.BUILD_FAILED})
"""While a server is such, the VM under its VMID may be somebody else's."""
Told = tuple[Server, Counters]
"""A server, and what its VM's process has counted."""
Difference = Callable[[Reading, Reading, datetime, Process | None], Moved | None]
"""What is counted between two readings: see `counters.moved`."""

log = logging.getLogger(__name__)


def record(node: Node, told: Mapping[int, Counters], asked_at: datetime, settings: Settings) -> None:
    """Count what the servers of a node have moved.

    Args:
        told: the counters of VMs that run there, by VMID.
        asked_at: when it was asked for them.
    """

    def found() -> list[Told]:
        there = (Server.node == node) & Server.vmid.in_(list(told)) & Server.status.not_in(list(UNBUILT))
        query = undeletable(Server.select().where(there).order_by(Server.id), Server)
        return [(server, told[server.vmid]) for server in query]

    if told:
        _record(node, found, moved, asked_at, settings)


def record_one(
    server_id: uuid.UUID, node: Node, told: Counters, asked_at: datetime, settings: Settings
) -> None:
    """Count what one server has moved, as a job has seen it, whose VM is proved to be ours. The rest as `record`.

    It may be told long after it was seen. So it counts only if it is of the process that is known, or of the first one.
    """

    def found() -> list[Told]:
        query = undeletable(Server.select().where(Server.id == server_id), Server)
        return [(server, told) for server in query]

    _record(node, found, _goes_on, asked_at, settings)


def prune(settings: Settings) -> None:
    """Forget what is older than it is kept."""
    current = period_at(now(), settings.traffic_timezone)
    count = TrafficHistory.prune() + TrafficPeriod.prune(months_before(current, settings.traffic_months))
    count += TrafficThreshold.prune(months_before(current, 1))
    if count:
        log.info("%s entries about old traffic are gone.", count)


def _record(
    node: Node,
    find: Callable[[], Sequence[Told]],
    difference: Difference,
    asked_at: datetime,
    settings: Settings,
) -> None:
    """Count what servers have moved, in one transaction.

    Args:
        find: the servers, which nobody deletes until the transaction ends. They are held first, as whoever changes a server does.
    """

    def work() -> None:
        if Node.hold(node.id):
            _count(node, find(), difference, asked_at, settings)

    transact(work)


def _goes_on(before: Reading, current: Reading, _clock: datetime, _ended: Process | None) -> Moved | None:
    if before.node_id is None:
        return Moved(current.in_bytes, current.out_bytes)
    return grown(before, current)


def _count(
    node: Node, told: Sequence[Told], difference: Difference, asked_at: datetime, settings: Settings
) -> None:
    meters, read_at = TrafficMeter.hold(server for server, _ in told), now()
    rows, gained = [], []
    for server, counters in told:
        current = _reading(node, counters, asked_at, read_at)
        meter = meters.get(server.id)
        if meter is not None:
            since = difference(_of(meter), current, read_at, _ended(meter))
            if since is None:
                continue
            gained.append((server, since))
        rows.append(_row(server, current, meter))
    TrafficMeter.put(rows)
    _add(
        [(server, since) for server, since in gained if since.in_bytes or since.out_bytes], read_at, settings
    )


def _add(gained: Sequence[tuple[Server, Moved]], at: datetime, settings: Settings) -> None:
    period = period_at(at, settings.traffic_timezone).name
    TrafficPeriod.add(
        [
            {
                "server_id": server.id,
                "period": period,
                "server_name": server.name,
                "owner_id": server.owner_id,
                "in_bytes": since.in_bytes,
                "out_bytes": since.out_bytes,
                "updated_at": at,
            }
            for server, since in gained
        ]
    )
    TrafficHistory.add(at, {server.id: (since.in_bytes, since.out_bytes) for server, since in gained})


def _reading(node: Node, told: Counters, asked_at: datetime, read_at: datetime) -> Reading:
    return Reading(node.id, told.pid, told.uptime_seconds, told.in_bytes, told.out_bytes, asked_at, read_at)


def _of(meter: TrafficMeter) -> Reading:
    return Reading(
        meter.node_id, meter.pid, meter.uptime_seconds, meter.in_bytes, meter.out_bytes, None, meter.read_at
    )


def _ended(meter: TrafficMeter) -> Process | None:
    if meter.ended_node_id is None:
        return None
    return Process(meter.ended_node_id, meter.ended_pid, meter.ended_uptime_seconds)


def _row(server: Server, reading: Reading, meter: TrafficMeter | None) -> dict[str, object]:
    ended = _ended(meter) if meter else None
    if meter is not None and (meter.node_id, meter.pid) != (reading.node_id, reading.pid):
        ended = Process(meter.node_id, meter.pid, meter.uptime_seconds)
    return {
        "server": server,
        "node_id": reading.node_id,
        "pid": reading.pid,
        "uptime_seconds": reading.uptime_seconds,
        "in_bytes": reading.in_bytes,
        "out_bytes": reading.out_bytes,
        "read_at": reading.read_at,
        "ended_node_id": ended.node_id if ended else None,
        "ended_pid": ended.pid if ended else None,
        "ended_uptime_seconds": ended.uptime_seconds if ended else 0,
    }
