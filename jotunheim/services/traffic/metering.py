"""Counts what servers move: what a node tells of its VMs is added to the sums of their servers.

A reading and the sums that it changes are written in one transaction, which nobody else makes for the same node at that time. So
nothing is counted twice, however many workers ask, and a worker that is killed has counted all of a reading or nothing.
"""

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime

from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.repository import InUseError
from jotunheim.repositories.peewee.database import now, transact, unique
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import (
    TrafficHistory,
    TrafficMeter,
    TrafficPeriod,
    TrafficThreshold,
)
from jotunheim.repositories.proxmox.facts import Counters
from jotunheim.services.traffic.counters import Moved, Reading, moved
from jotunheim.services.traffic.periods import months_before, period_at
from jotunheim.settings import Settings

UNBUILT = frozenset({ServerStatus.BUILDING, ServerStatus.BUILD_FAILED})
"""While a server is such, the VM under its VMID may be somebody else's."""
TRIES = 3

log = logging.getLogger(__name__)


def record(node: Node, told: Mapping[int, Counters], asked_at: datetime, settings: Settings) -> None:
    """Count what the servers of a node have moved.

    Args:
        told: the counters of VMs that run there, by VMID.
        asked_at: when it was asked for them.
    """
    for left in reversed(range(TRIES)):
        try:
            transact(lambda: _record(node, told, asked_at, settings))
        except InUseError:  # a server was deleted meanwhile
            if not left:
                raise
        else:
            return


def prune(settings: Settings) -> None:
    """Forget what is older than it is kept."""
    first = months_before(period_at(now(), settings.traffic_timezone), settings.traffic_months)
    count = TrafficHistory.prune() + TrafficPeriod.prune(first) + TrafficThreshold.prune(first)
    if count:
        log.info("%s entries about old traffic are gone.", count)


def _record(node: Node, told: Mapping[int, Counters], asked_at: datetime, settings: Settings) -> None:
    if told and Node.hold(node.id):
        with unique("Somebody counts the same."):
            _count(node, told, asked_at, settings)


def _count(node: Node, told: Mapping[int, Counters], asked_at: datetime, settings: Settings) -> None:
    servers = {
        server.id: server
        for server in Server.on(node)
        if server.vmid in told and server.status not in UNBUILT
    }
    meters, read_at = TrafficMeter.hold(servers.values()), now()
    rows, gained = [], {}
    for id_, server in servers.items():
        current = _reading(node, told[server.vmid], asked_at, read_at)
        meter = meters.get(id_)
        if meter is not None:
            found = moved(_of(meter), current, read_at)
            if found is None:
                continue
            gained[id_] = found
        rows.append(_row(id_, current))
    TrafficMeter.put(rows)
    _add(
        {id_: found for id_, found in gained.items() if found.in_bytes or found.out_bytes},
        servers,
        read_at,
        settings,
    )


def _add(
    gained: Mapping[uuid.UUID, Moved], servers: Mapping[uuid.UUID, Server], at: datetime, settings: Settings
) -> None:
    period = period_at(at, settings.traffic_timezone).name
    TrafficPeriod.add(
        [
            {
                "server_id": id_,
                "period": period,
                "server_name": servers[id_].name,
                "owner_id": servers[id_].owner_id,
                "in_bytes": found.in_bytes,
                "out_bytes": found.out_bytes,
                "updated_at": at,
            }
            for id_, found in gained.items()
        ]
    )
    TrafficHistory.add(at, {id_: (found.in_bytes, found.out_bytes) for id_, found in gained.items()})


def _reading(node: Node, told: Counters, asked_at: datetime, read_at: datetime) -> Reading:
    return Reading(node.id, told.pid, told.uptime_seconds, told.in_bytes, told.out_bytes, asked_at, read_at)


def _of(meter: TrafficMeter) -> Reading:
    return Reading(
        meter.node_id, meter.pid, meter.uptime_seconds, meter.in_bytes, meter.out_bytes, None, meter.read_at
    )


def _row(server_id: uuid.UUID, reading: Reading) -> dict[str, object]:
    return {
        "server": server_id,
        "node_id": reading.node_id,
        "pid": reading.pid,
        "uptime_seconds": reading.uptime_seconds,
        "in_bytes": reading.in_bytes,
        "out_bytes": reading.out_bytes,
        "read_at": reading.read_at,
    }
