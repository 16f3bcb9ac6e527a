"""Looks for orphans: a scan asks a node what it has, and writes down what of that is in no record.

`look` only reads, outside of transactions; `record` compares. Our records are read before the node is asked and after it, so that what
came or went meanwhile is no orphan.
"""

import uuid
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.node.orphan import Caution, OrphanKind
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState, NodeStorage
from jotunheim.repositories.peewee.orphans import (
    Orphan,
    Records,
    backups_once_known,
    nodes_not_scanned_since,
    servers_once_known,
)
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import ProxmoxClient, marked
from jotunheim.repositories.proxmox.configuration import scratch_uuid
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.nodes.requests import enqueue_one
from jotunheim.settings import Settings

SWEEP = "orphan sweep"
"""Who asks when nobody does."""
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a node has, and what was ours before it was asked."""

    records: Records
    marked: marked.Marked


def sweep(settings: Settings) -> list[Job]:
    """Queue a look on each node that had none for `ORPHAN_SCAN_SECONDS`; returns the jobs."""
    if not settings.orphan_scan_seconds:
        return []
    since = now() - timedelta(seconds=settings.orphan_scan_seconds)
    jobs = []
    for node in nodes_not_scanned_since(since):
        with transaction():
            # Another worker may have been faster.
            if Node.hold(node.id) and node in nodes_not_scanned_since(since):
                jobs.append(enqueue_one(node, JobType.NODE_SCAN, Actor.of_service(SWEEP)))
    return jobs


def look(node: Node, keyring: Keyring, settings: Settings) -> Seen:
    """Ask a node for all that carries our mark.

    Raises:
        ProxmoxRequestError: it gives no usable answer.
    """
    records = Records.read()
    known = {vmid for server in Server.on(node) for vmid in (server.vmid, server.scratch_vmid) if vmid}
    with ProxmoxClient(endpoint(node, keyring, settings)) as client:
        return Seen(records, marked.read(client, node.name, known))


def record(node: Node, seen: Seen, settings: Settings) -> dict[str, Any]:
    """Write down which of what a node has are orphans; returns what of it a job's result tells, see docs/api.md."""
    told = seen.marked
    once = _once_known(seen)  # before the transaction, in which nobody else could write
    with transaction():
        if not Node.hold(node.id):
            return {}
        ours = seen.records.and_later(Records.read())
        elsewhere = _seen_by_others(node, told)
        found = [
            *_vms(told, ours, once),
            *_disks(told, ours, elsewhere, settings),
            *_backups(told, ours, elsewhere, once),
        ]
        new, gone = Orphan.record_found(node, found, partial(_is_unread, told.lacking))
    return {"found": len(found), "new": new, "gone": gone, "lacking": told.lacking.told}


def _is_unread(lacking: marked.Lacking, orphan: Orphan) -> bool:
    if orphan.kind == OrphanKind.VM:
        return orphan.vmid in lacking.vmids
    return orphan.storage in lacking.storages


def _seen_by_others(node: Node, told: marked.Marked) -> frozenset[str]:
    """Shared storages that another node's scan reports on: the first one of the cluster that sees them does."""
    peers = NodeState.peers_by_name(told.peers).values()
    before = [peer.node for peer in peers if peer.node_id < node.id and node.name in peer.peers]
    return frozenset(
        storage.name for peer in before for storage in NodeStorage.of(peer) if storage.name in told.shared
    )


def _once_known(seen: Seen) -> Set[uuid.UUID]:
    """Ids of the servers and backups that there ever were, as far as what was seen could be of some that are no more."""
    told, ours = seen.marked, seen.records
    known: set[uuid.UUID] = set()
    if any(vm.mark not in ours.servers for vm in told.vms):
        known |= servers_once_known()
    if any(backup.mark not in ours.backups for backup in told.backups):
        known |= backups_once_known()
    return known


def _vms(told: marked.Marked, ours: Records, once: Set[uuid.UUID]) -> Iterator[Columns]:
    found = [vm for vm in told.vms if vm.mark not in ours.servers]
    rebuilt = {scratch_uuid(server): server for server in once | ours.servers} if found else {}
    for vm in found:
        server = rebuilt.get(vm.mark)
        if server is not None and ours.scratch_vmids.get(server) == vm.vmid:
            continue
        cautions = [
            *([] if vm.mark in once or server else [Caution.UNKNOWN]),
            *([Caution.COPIED] if vm.copied else []),
            *([Caution.RUNNING] if vm.running else []),
        ]
        yield {
            "key": f"vm/{vm.vmid}/{vm.mark}",
            "kind": OrphanKind.VM,
            "vmid": vm.vmid,
            "name": vm.name,
            "mark": vm.mark,
            "storage": None,
            "volume": None,
            "size_bytes": vm.disk_bytes,
            "protected": vm.protected,
            "cautions": cautions,
        }


def _disks(
    told: marked.Marked, ours: Records, elsewhere: frozenset[str], settings: Settings
) -> Iterator[Columns]:
    for disk in told.disks:
        in_range = settings.vmid_first <= disk.vmid <= settings.vmid_last
        if in_range and disk.vmid not in told.vmids | ours.vmids and disk.storage not in elsewhere:
            yield _of_volume(disk, OrphanKind.DISK, [Caution.UNMARKED])


def _backups(
    told: marked.Marked, ours: Records, elsewhere: frozenset[str], once: Set[uuid.UUID]
) -> Iterator[Columns]:
    for backup in told.backups:
        if backup.mark not in ours.backups and backup.storage not in elsewhere:
            yield _of_volume(backup, OrphanKind.BACKUP, [] if backup.mark in once else [Caution.UNKNOWN])


def _of_volume(volume: marked.Volume, kind: OrphanKind, cautions: list[Caution]) -> Columns:
    return {
        "key": volume.name,
        "kind": kind,
        "vmid": volume.vmid,
        "name": volume.name,
        "mark": volume.mark,
        "storage": volume.storage,
        "volume": volume.name,
        "size_bytes": volume.size_bytes,
        "protected": volume.protected,
        "cautions": cautions,
    }
