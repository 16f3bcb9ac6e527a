"""How much of each node is given away, and how much is left. What a server may use is given away from the moment
that its row exists until it is deleted, whether its VM runs or not.

Memory: the node's, times `memory_overcommit`, less what our servers and running VMs of others may use.
Disk: the `vm_storage`, times `disk_overcommit`, less what our servers' disks and others' may grow to, and never more than is
free right now times the same factor. A storage that nodes of one cluster share is counted once for all of them.

What a node has not told yet, or will not tell, is no limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.node_state import NodeState, NodeStorage
from jotunheim.repositories.peewee.servers import Reserved, Server


@dataclass(frozen=True)
class Room:
    """A node's memory and disk space in bytes, from what it told last. None: not known."""

    state: NodeState
    storage: NodeStorage | None
    """Where disks are put."""
    memory_limit: int | None
    memory_reserved: int
    disk_limit: int | None
    disk_reserved: int
    disk_free: int | None
    """What is free right now, times `disk_overcommit`."""
    disk_bytes: int | None
    """The size of the storage."""
    servers: int

    @property
    def memory_available(self) -> int | None:
        """What new servers can get."""
        return None if self.memory_limit is None else max(0, self.memory_limit - self.memory_reserved)

    @property
    def disk_available(self) -> int | None:
        """What new servers can get."""
        if self.disk_limit is None or self.disk_free is None:
            return None
        return max(0, min(self.disk_limit - self.disk_reserved, self.disk_free))

    def load_with(self, memory_bytes: int, disk_bytes: int) -> float:
        """How full the node would be with another server: 0 is empty, 1 is full; the fuller of memory and disk."""
        used = (
            (self.memory_reserved + memory_bytes, self.memory_limit),
            (self.disk_reserved + disk_bytes, self.disk_limit),
        )
        return max((reserved / limit for reserved, limit in used if limit), default=0.0)


def rooms(nodes: Sequence[Node]) -> dict[int, Room]:
    """The room on nodes, by node id; five queries for all of them.

    Whoever gives some of it away does so in one transaction with this, under `serialize("placement")`.
    """
    states = NodeState.of(nodes)
    disks = NodeStorage.for_disks(nodes)
    sharers = {
        node.id: _sharers(node, states[node.id], disks.get(node.id), peers)
        for peers in [NodeState.peers_by_name(_peers_of_shared(states, disks))]
        for node in nodes
    }
    reserved = Server.reserved_on({id_ for ids in sharers.values() for id_ in ids})
    return {
        node.id: _room(node, states[node.id], disks.get(node.id), sharers[node.id], reserved)
        for node in nodes
    }


def _peers_of_shared(states: dict[int, NodeState], disks: dict[int, NodeStorage]) -> set[str]:
    return {name for id_, storage in disks.items() if storage.shared for name in states[id_].peers}


def _sharers(
    node: Node, state: NodeState, storage: NodeStorage | None, peers: dict[str, NodeState]
) -> frozenset[int]:
    """Ids of the nodes whose servers' disks are on the same storage."""
    if storage is None or not storage.shared:
        return frozenset({node.id})
    known = [peers[name] for name in state.peers if name in peers]
    return frozenset({node.id, *(peer.node_id for peer in known if node.name in peer.peers)})


def _room(
    node: Node,
    state: NodeState,
    storage: NodeStorage | None,
    sharers: frozenset[int],
    reserved: Sequence[Reserved],
) -> Room:
    own = [part for part in reserved if part.node_id == node.id]
    # A server that was recorded before its storage was is taken to be on this one.
    on_storage = [
        part for part in reserved if part.node_id in sharers and part.storage in (None, node.vm_storage)
    ]
    total, used = (storage.total_bytes, storage.used_bytes) if storage else (None, None)
    return Room(
        state=state,
        storage=storage,
        memory_limit=_times(state.memory_bytes, node.memory_overcommit),
        memory_reserved=sum(part.memory_bytes for part in own) + (state.foreign_memory_bytes or 0),
        disk_limit=_times(total, node.disk_overcommit),
        disk_reserved=sum(part.disk_bytes for part in on_storage)
        + ((storage.foreign_bytes or 0) if storage else 0),
        disk_free=None if total is None or used is None else _times(total - used, node.disk_overcommit),
        disk_bytes=total,
        servers=sum(part.servers for part in own),
    )


def _times(total: int | None, overcommit: float) -> int | None:
    return None if total is None else int(total * overcommit)
