"""Shows what nodes told: their state, how much of them is given away, their storages, and how they were used."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jotunheim.data.node.state import NodeStateView, NodeStatus, StorageView, SyncError, UsageView
from jotunheim.data.paging import Page, Paged
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.node_state import RESOLUTIONS, NodeState, NodeStorage, NodeUsage
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.services.history import span
from jotunheim.services.proxmox import capacity
from jotunheim.services.proxmox.capacity import Room

FILTERS = {"shared": NodeStorage.shared, "active": NodeStorage.active}
SORTABLE = {
    "name": NodeStorage.name,
    "type": NodeStorage.type,
    "total_bytes": NodeStorage.total_bytes,
    "used_bytes": NodeStorage.used_bytes,
}


def views(nodes: Sequence[Node]) -> dict[int, NodeStateView]:
    """The states of nodes by id; five queries for all of them."""
    return {id_: _view(room.state, room) for id_, room in capacity.rooms(nodes).items()}


def list_storages(node: Node, page: Page, wanted: Mapping[str, Any]) -> Paged[StorageView]:
    """A page of a node's storages that these filters let through, as its last sync has found them."""
    room = capacity.rooms([node])[node.id]
    query = NodeStorage.select().where(NodeStorage.node == node)
    rows, total = paginate(narrowed(query, FILTERS, wanted), page, SORTABLE)
    shown = [_storage(row, room if row.name == node.vm_storage else None) for row in rows]
    return Paged(shown, page, total)


def usage(
    node: Node, resolution_seconds: int, since: datetime | None, until: datetime | None
) -> list[UsageView]:
    """How a node was used; arguments and errors as of `history.span`."""
    since, until = span(RESOLUTIONS, resolution_seconds, since, until)
    return [
        UsageView(
            at=entry.at,
            cpu=entry.cpu,
            memory_used_bytes=entry.memory_used_bytes,
            memory_bytes=entry.memory_bytes,
            storage_used_bytes=entry.storage_used_bytes,
            storage_bytes=entry.storage_bytes,
            running=entry.running,
        )
        for entry in NodeUsage.between(node, resolution_seconds, since, until)
    ]


def _view(state: NodeState, room: Room) -> NodeStateView:
    return NodeStateView(
        status=NodeStatus(state.status),
        status_since=None if state.status == NodeStatus.UNKNOWN else state.status_since,
        synced_at=state.synced_at,
        error=SyncError.model_validate(state.error) if state.error else None,
        lacking=state.lacking,
        version=state.version,
        cpu_count=state.cpu_count,
        memory_bytes=state.memory_bytes,
        memory_reserved_bytes=room.memory_reserved,
        memory_available_bytes=room.memory_available,
        disk_bytes=room.disk_bytes,
        disk_reserved_bytes=room.disk_reserved,
        disk_available_bytes=room.disk_available,
        servers=room.servers,
        bridges=state.bridges,
        peers=state.peers,
    )


def _storage(storage: NodeStorage, room: Room | None) -> StorageView:
    return StorageView(
        name=storage.name,
        type=storage.type,
        content=storage.content,
        shared=storage.shared,
        active=storage.active,
        total_bytes=storage.total_bytes,
        used_bytes=storage.used_bytes,
        reserved_bytes=room.disk_reserved if room else None,
        available_bytes=room.disk_available if room else None,
    )
