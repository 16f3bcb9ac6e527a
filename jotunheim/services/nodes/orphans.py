"""What stands on nodes as if it were ours and is in no record: shown, and removed when somebody says so. `scans` finds it."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.node.orphan import Caution, OrphanKind, OrphanView, PruneRequest
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.view import NodeSummary
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, LockedError, ProtectedError
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.orphans import (
    Orphan,
    Records,
)
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.nodes.requests import enqueue_planned
from jotunheim.services.servers.plans import Manner

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
        raise LockedError(other, JobType.ORPHAN_PRUNE, what="orphan")
    if is_ours(orphan):
        raise ConflictError(f"{orphan.name} is in our records by now.", hint="Scan again.")
    parameters = {"orphan_id": str(orphan.id), "despite": sorted(orphan.cautions)}
    watched = _watched(orphan)
    return enqueue_planned(orphan.node, JobType.ORPHAN_PRUNE, actor, manner, parameters, "orphan", **watched)


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


def _watched(orphan: Orphan) -> dict[str, Any]:
    if orphan.kind == OrphanKind.BACKUP:
        return {"vmid": orphan.vmid, "backup_storage": orphan.storage}
    return {"vmid": orphan.vmid, "new": orphan.kind == OrphanKind.DISK}
