"""Keeps what we know of nodes true: what they have, whether they answer, and on which of them our servers are.

A sync only reads from Proxmox VE: `look` asks the node, outside of transactions, and `record` writes down what it told.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from jotunheim.data.node.state import Moved, Usage
from jotunheim.data.server.status import Power
from jotunheim.exceptions.repository import ProxmoxRequestError
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState, NodeStorage, NodeUsage
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, facts
from jotunheim.services.nodes import whereabouts
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.servers import power_states
from jotunheim.services.traffic import metering, quota
from jotunheim.settings import Settings

NODES_AT_ONCE = 8
ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 5.0
"""How soon a node that did not answer is asked again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What a node told when it was asked."""

    asked_at: datetime
    facts: facts.Facts
    strays: whereabouts.Strays


@dataclass(frozen=True)
class Outcome:
    """What followed from it."""

    moved: list[Moved] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Names of servers whose VMs no node of the cluster has."""
    jobs: list[Job] = field(default_factory=list)
    """Jobs that were queued because of it."""

    def summary(self, seen: Seen) -> dict[str, Any]:
        """The same, for whoever asked for the sync: see docs/api.md."""
        return {
            "moved": [moved.model_dump(mode="json") for moved in self.moved],
            "missing": self.missing,
            "lacking": list(seen.facts.lacking),
            "vms": len(seen.facts.vms),
        }


def sweep(keyring: Keyring, settings: Settings) -> list[Job]:
    """Ask the nodes whose time has come, several at once, and record what they tell.

    Returns:
        Jobs that were queued because of it.
    """
    again = min(AGAIN_SECONDS, settings.sync_seconds)
    due = NodeState.claim_due(timedelta(seconds=settings.sync_seconds), timedelta(seconds=again))
    asked_at = now()
    # Read here: the store's connections belong to threads.
    endpoints = [_endpoint(node, keyring, settings) for node in due]
    jobs = []
    with ThreadPoolExecutor(NODES_AT_ONCE) as pool:
        for node, where, told in zip(due, endpoints, pool.map(_ask, due, endpoints), strict=True):
            try:
                if isinstance(told, ProxmoxRequestError):
                    raise told
                seen = Seen(asked_at, told, whereabouts.find(node, where, told, asked_at))
            except ProxmoxRequestError as error:
                record_failure(node, error)
                continue
            jobs += record(node, seen, settings).jobs
    return jobs


def first(node: Node, keyring: Keyring, settings: Settings) -> None:
    """Ask a node that was never asked; if it gives no usable answer a worker will ask again."""
    if NodeState.of([node])[node.id].synced_at is not None:
        return
    try:
        record(node, look(node, keyring, settings), settings)
    except ProxmoxRequestError as error:
        record_failure(node, error)


def look(node: Node, keyring: Keyring, settings: Settings) -> Seen:
    """Ask a node for all that a sync wants to know.

    Raises:
        ProxmoxRequestError: it gives no usable answer.
    """
    asked_at = now()
    where = _endpoint(node, keyring, settings)
    with ProxmoxClient(where) as client:
        told = facts.read(client, node.name, node.vm_storage)
    return Seen(asked_at, told, whereabouts.find(node, where, told, asked_at))


def relocate(job: Job, keyring: Keyring, settings: Settings) -> bool:
    """Look for the VM of a running job's server elsewhere in its cluster, and let the record follow it.

    Returns:
        Whether it was found, so that the job can be tried there.

    Raises:
        LeaseLostError: the job belongs to another worker now.
    """
    server = Server.with_places().where(Server.id == job.server_id).first()
    if server is None:
        return False
    try:
        place = whereabouts.find_one(server, _endpoint(server.node, keyring, settings))
    except ProxmoxRequestError as error:
        log.warning("Where server %s is now cannot be found out: %s", server.name, error.message)
        return False
    if place is None:
        return False
    with transaction():
        job.assert_lease()
        return whereabouts.follow_one(server, place)


def record(node: Node, seen: Seen, settings: Settings) -> Outcome:
    """Write down what a node told, let the records of servers that moved follow, count traffic, and see to what drifted."""
    told = seen.facts
    with transaction():
        if not Node.hold(node.id):  # else a job and a sweep that have asked it at once would write at once
            return Outcome()
        ours = Server.vmids_among(told.vms)
        NodeState.of([node])[node.id].record(
            peers=sorted(told.peers),
            lacking=list(told.lacking),
            foreign_memory_bytes=_foreign_memory(told, ours),
            **_told(told),
        )
        if told.storages is not None:
            NodeStorage.replace_all(node, _storages(node, told.storages, told.disks))
        if told.load is not None:
            NodeUsage.add(node, _usage(node, told, told.load))
        Template.record_presence(node, present=told.vms, absent=seen.strays.templates)
        moved = whereabouts.follow(seen.strays, seen.asked_at)
        missing = whereabouts.record_missing(node, seen.strays, told, seen.asked_at)
    counters = {vm.vmid: vm.counters for vm in told.vms.values() if vm.counters is not None}
    metering.record(node, counters, seen.asked_at, settings)
    quota.review_node(node, settings)
    powers = {vm.vmid: Power.RUNNING if vm.running else Power.STOPPED for vm in told.vms.values()}
    return Outcome(moved, missing, power_states.settle(node, powers, seen.asked_at))


def record_failure(node: Node, error: ProxmoxRequestError) -> None:
    """Write down that a node gave no usable answer."""
    log.warning("Node %s gives no usable answer: %s", node.name, error.message)
    with transaction():
        if Node.hold(node.id):
            NodeState.of([node])[node.id].record_failure(error.code, error.message)


def _endpoint(node: Node, keyring: Keyring, settings: Settings) -> Endpoint:
    where = endpoint(node, keyring, settings)
    return replace(where, read_timeout_seconds=min(where.read_timeout_seconds, ANSWER_SECONDS))


def _ask(node: Node, where: Endpoint) -> facts.Facts | ProxmoxRequestError:
    try:
        with ProxmoxClient(where) as client:
            return facts.read(client, node.name, node.vm_storage)
    except ProxmoxRequestError as error:
        return error


def _told(told: facts.Facts) -> Mapping[str, Any]:
    """The columns that a node told; what it would not tell stays as it told before, so that no limit is lifted."""
    columns: dict[str, Any] = {} if told.bridges is None else {"bridges": list(told.bridges)}
    if told.load is not None:
        load = told.load
        columns |= {"version": load.version, "cpu_count": load.cpu_count, "memory_bytes": load.memory_bytes}
    return columns


def _foreign_memory(told: facts.Facts, ours: set[int]) -> int:
    return sum(vm.memory_bytes for vm in told.vms.values() if vm.running and vm.vmid not in ours)


def _storages(
    node: Node, told: Sequence[facts.StorageFacts], disks: Sequence[facts.Disk] | None
) -> Iterable[dict[str, Any]]:
    known = {storage.name: storage.foreign_bytes for storage in NodeStorage.of(node)}
    for storage in told:
        foreign = None
        if storage.name == node.vm_storage:
            foreign = known.get(storage.name) if disks is None else _foreign_disks(disks)
        yield {
            "name": storage.name,
            "type": storage.type,
            "content": list(storage.content),
            "shared": storage.shared,
            "active": storage.active,
            "total_bytes": storage.total_bytes,
            "used_bytes": storage.used_bytes,
            "foreign_bytes": foreign,
        }


def _foreign_disks(disks: Sequence[facts.Disk]) -> int:
    ours = Server.vmids_among({disk.vmid for disk in disks if disk.vmid})
    return sum(disk.size_bytes for disk in disks if disk.vmid not in ours)


def _usage(node: Node, told: facts.Facts, load: facts.Load) -> Usage:
    disks = next((storage for storage in told.storages or [] if storage.name == node.vm_storage), None)
    return Usage(
        cpu=load.cpu,
        memory_used_bytes=load.memory_used_bytes,
        memory_bytes=load.memory_bytes,
        storage_used_bytes=disks.used_bytes if disks else None,
        storage_bytes=disks.total_bytes if disks else None,
        running=sum(vm.running for vm in told.vms.values()),
    )
