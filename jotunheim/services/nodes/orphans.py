"""What stands on nodes as if it were ours and is in no record: found by scans, shown, and removed when somebody says so.

A scan only reads: `look` asks the node, outside of transactions, and `record` writes down what is left of that when our records have
been compared. They are read before the node is asked and after it, so that what came or went meanwhile is no orphan.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.node.orphan import Caution, OrphanKind, OrphanView, PruneRequest
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.view import NodeSummary
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, LockedError, ProtectedError
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
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import ProxmoxClient, marked
from jotunheim.repositories.proxmox.configuration import scratch_uuid
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.servers import plans
from jotunheim.services.servers.plans import Manner
from jotunheim.settings import Settings

MAX_ATTEMPTS = 3
SWEEP = "orphan sweep"
"""Who asks when nobody does."""
FILTERS = {
    "node_id": Orphan.node,
    "kind": Orphan.kind,
    "vmid": Orphan.vmid,
    "storage": Orphan.storage,
    "protected": Orphan.protected,
}
SORTABLE = {
    "found_at": Orphan.found_at,
    "seen_at": Orphan.seen_at,
    "kind": Orphan.kind,
    "vmid": Orphan.vmid,
    "name": Orphan.name,
    "size_bytes": Orphan.size_bytes,
}
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a node has, and what was ours before it was asked."""

    records: Records
    marked: marked.Marked


def find(id_: uuid.UUID) -> Orphan:
    """An orphan with its node. Raises NotFoundError."""
    orphan: Orphan | None = Orphan.with_node().where(Orphan.id == id_).first()
    if orphan is None:
        raise NotFoundError("orphan", id_)
    return orphan


def list_orphans(page: Page, wanted: Mapping[str, Any]) -> Paged[OrphanView]:
    """A page of the orphans that these filters let through, in the order in which they were found unless `sort` says otherwise."""
    rows, total = paginate(narrowed(Orphan.with_node(), FILTERS, wanted), page, SORTABLE)
    return Paged(views(rows), page, total)


def view(orphan: Orphan) -> OrphanView:
    """An orphan as the API shows it."""
    return views([orphan])[0]


def views(orphans: Sequence[Orphan]) -> list[OrphanView]:
    """Orphans as the API shows them."""
    jobs = Orphan.live_jobs(orphans)
    return [
        OrphanView(
            id=orphan.id,
            kind=OrphanKind(orphan.kind),
            node=NodeSummary(id=orphan.node.id, name=orphan.node.name),
            vmid=orphan.vmid,
            name=orphan.name,
            mark=orphan.mark,
            storage=orphan.storage,
            volume=orphan.volume,
            size_bytes=orphan.size_bytes,
            protected=orphan.protected,
            cautions=[Caution(caution) for caution in orphan.cautions],
            job_id=jobs.get(orphan.id),
            found_at=orphan.found_at,
            seen_at=orphan.seen_at,
        )
        for orphan in orphans
    ]


def scan(node: Node, actor: Actor) -> Job:
    """Queue a look for orphans on a node; one that is queued or running already will do."""
    return Job.live_on(node, JobType.NODE_SCAN) or Job.enqueue(
        type=JobType.NODE_SCAN,
        node=node,
        max_attempts=MAX_ATTEMPTS,
        requested_by=actor.email,
        request_id=actor.request_id,
    )


def scan_what_is_due(settings: Settings) -> list[Job]:
    """Queue a look on each node that had none for `ORPHAN_SCAN_SECONDS`; returns the jobs."""
    if not settings.orphan_scan_seconds:
        return []
    since = now() - timedelta(seconds=settings.orphan_scan_seconds)
    jobs = []
    for node in nodes_not_scanned_since(since):
        with transaction():
            # Another worker may have been faster.
            if Node.hold(node.id) and node in nodes_not_scanned_since(since):
                jobs.append(scan(node, _sweeper()))
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


def prune(orphan: Orphan, wanted: PruneRequest, actor: Actor, manner: Manner) -> Job:
    """Queue the removal of an orphan.

    Raises:
        ProtectedError: the node would refuse.
        DataValidationError: it has a caution that the request does not name.
        LockedError: a job is at it.
        ConflictError: it is ours by now.
    """
    Node.hold(orphan.node_id)
    if orphan.protected:
        raise ProtectedError(
            f"{orphan.name} is protected in Proxmox VE.", hint="Take that off on the node, then scan again."
        )
    lacking = [caution for caution in orphan.cautions if caution not in wanted.despite]
    if lacking:
        raise DataValidationError([FieldProblem("despite", f"does not name: {', '.join(lacking)}")])
    other = Orphan.live_jobs([orphan]).get(orphan.id)
    if other is not None:
        raise LockedError(other, JobType.ORPHAN_PRUNE)
    if is_ours(orphan):
        raise ConflictError(f"{orphan.name} is in our records by now.", hint="Scan again.")
    parameters = {"orphan_id": str(orphan.id), "despite": sorted(orphan.cautions)}
    if manner.planned is not None:
        plans.assert_same(manner.planned, parameters, {"orphan_id": "orphan", "despite": "orphan"})
    job = Job.enqueue(
        type=JobType.ORPHAN_PRUNE,
        node=orphan.node_id,
        max_attempts=MAX_ATTEMPTS,
        requested_by=actor.email,
        request_id=actor.request_id,
        parameters=parameters,
        check_only=manner.check,
    )
    plans.settle(manner, job, None, **_watched(orphan))
    return job


def is_ours(orphan: Orphan) -> bool:
    """Whether our records have it after all, within the transaction that asks."""
    ours = Records.read()
    if orphan.kind == OrphanKind.DISK:
        return orphan.vmid in ours.vmids
    if orphan.kind == OrphanKind.BACKUP:
        return orphan.mark in ours.backups
    # One that was imported, or is being rebuilt under this VMID, need not have the mark of its server.
    holder = Server.by_vmid([orphan.vmid]).get(orphan.vmid)
    return orphan.mark in ours.servers or (holder is not None and holder.node_id == orphan.node_id)


def _is_unread(lacking: marked.Lacking, orphan: Orphan) -> bool:
    if orphan.kind == OrphanKind.VM:
        return orphan.vmid in lacking.vmids
    return orphan.storage in lacking.storages


def _sweeper() -> Actor:
    id_ = f"orphans-{uuid.uuid4()}"
    return Actor(user_id=0, email=SWEEP, role=ADMIN, scopes=frozenset(), request_id=id_)


def _watched(orphan: Orphan) -> dict[str, Any]:
    if orphan.kind == OrphanKind.BACKUP:
        return {"vmid": orphan.vmid, "backup_storage": orphan.storage}
    return {"vmid": orphan.vmid, "new": orphan.kind == OrphanKind.DISK}


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
