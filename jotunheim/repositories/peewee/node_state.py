"""What nodes told about themselves: whether they answer, what they have, and how it was used.

Written by syncs and by nobody else; what operators decide about a node is in `infrastructure`.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import (
    JOIN,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    FloatField,
    ForeignKeyField,
    IntegerField,
    JSONField,
)

from jotunheim.data.node.state import NodeStatus, Usage
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.repositories.peewee.announcements import announce
from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.repositories.peewee.infrastructure import Node

FAILURES_UNTIL_OFFLINE = 2
RESOLUTIONS = {60: timedelta(days=1), 1800: timedelta(days=30)}
"""How long usage is kept, by the seconds that one entry stands for."""


class NodeState(Table):
    """A node as its last sync has found it."""

    node = ForeignKeyField(Node, primary_key=True, backref="state", on_delete="CASCADE")
    node_id: int
    status = CharField(max_length=16, default=NodeStatus.UNKNOWN)
    status_since = UtcField(default=now)
    asked_at = UtcField(null=True)
    """When a sync last began."""
    synced_at = UtcField(null=True)
    """When it last told us all of this."""
    failures = IntegerField(default=0)
    """How many syncs have failed since."""
    error = JSONField(null=True)
    """Why the last one failed: `{"code", "message"}`."""
    version = CharField(null=True)
    cpu_count = IntegerField(null=True)
    memory_bytes = BigIntegerField(null=True)
    foreign_memory_bytes = BigIntegerField(default=0)
    """What VMs may use that run there and are not ours."""
    peers = JSONField(default=list)
    """Names of the nodes of its cluster, its own among them."""
    bridges = JSONField(default=list)
    lacking = JSONField(default=list)
    """What it would not tell us, in its words."""

    class Meta:
        table_name = "node_state"

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> "dict[int, NodeState]":
        """The states of nodes, by node id; a node that was never asked has an empty one."""
        wanted = [node.id for node in nodes]
        found = {state.node_id: state for state in cls.select().where(cls.node.in_(wanted))}
        return {id_: found.get(id_) or cls(node=id_) for id_ in wanted}

    @classmethod
    def peers_by_name(cls, names: Iterable[str]) -> "dict[str, NodeState]":
        """The states of those of these nodes that have told of their clusters, by name. One name can be in two clusters."""
        query: Any = cls.select(cls, Node).join(Node).where(Node.name.in_(list(names)))
        return {state.node.name: state for state in query if state.peers}

    @classmethod
    def claim_due(cls, period: timedelta, after_failure: timedelta) -> list[Node]:
        """Nodes that it is time to ask, for the caller to do so: nobody else gets the same.

        Args:
            period: how long ago they were asked.
            after_failure: the same, for nodes that could not be asked then.
        """
        at = now()
        late = cls.asked_at.is_null() | (cls.asked_at < at - period)
        late |= (cls.failures > 0) & (cls.asked_at < at - after_failure)
        due: Any = Node.select().join(cls, JOIN.LEFT_OUTER).where(late).order_by(Node.id)
        claimed = []
        for node in due:
            cls.insert(node=node).on_conflict_ignore().execute()
            if cls.update(asked_at=at).where((cls.node == node) & late).execute():
                claimed.append(node)
        return claimed

    @classmethod
    def ask_again(cls, node: Node) -> None:
        """Let the node be asked at once, since it is reached in another way now; until then nothing is known of how it is."""
        columns = {"asked_at": None, "failures": 0, "error": None, "status": NodeStatus.UNKNOWN}
        cls.update(status_since=now(), **columns).where(cls.node == node).execute()

    def record(self, **facts: object) -> None:
        """The node has told us all."""
        at, was = now(), self.status
        since = self.status_since if was == NodeStatus.ONLINE else at
        self._write(
            status=NodeStatus.ONLINE, status_since=since, synced_at=at, failures=0, error=None, **facts
        )
        if was != NodeStatus.ONLINE:
            self._announce(EventKind.NODE_ONLINE)

    def record_failure(self, code: str, message: str) -> None:
        """The node could not be asked. Once is no reason yet to take it for offline."""
        at, failures = now(), self.failures + 1
        offline = failures >= FAILURES_UNTIL_OFFLINE
        was = NodeStatus(self.status)
        status = NodeStatus.OFFLINE if offline else was
        since = self.status_since if status is was else at
        error = {"code": code, "message": message}
        self._write(status=status, status_since=since, failures=failures, error=error)
        if status is NodeStatus.OFFLINE and was is not NodeStatus.OFFLINE:
            self._announce(EventKind.NODE_OFFLINE)

    def _announce(self, kind: EventKind) -> None:
        node = {"id": self.node_id, "name": self.node.name, "status": self.status}
        told = {**node, "status_since": self.status_since, "error": self.error}
        announce(kind, owner_id=None, resource=("node", self.node_id), data={"node": told})

    def _write(self, **columns: object) -> None:
        NodeState.insert(node=self.node_id, asked_at=now()).on_conflict_ignore().execute()
        NodeState.update(**columns).where(NodeState.node == self.node_id).execute()
        for name, value in columns.items():
            setattr(self, name, value)


class NodeStorage(Table):
    """A storage as a node sees it."""

    node = ForeignKeyField(Node, backref="storages", on_delete="CASCADE")
    node_id: int
    name = CharField()
    type = CharField()
    content = JSONField(default=list)
    """What may be put there, e.g. `images`."""
    shared = BooleanField(default=False)
    active = BooleanField(default=True)
    total_bytes = BigIntegerField(null=True)
    used_bytes = BigIntegerField(null=True)
    foreign_bytes = BigIntegerField(null=True)
    """Disks there that are not our servers', at their full size; None: not asked, for it is not the `vm_storage`."""

    class Meta:
        table_name = "node_storage"
        primary_key = CompositeKey("node", "name")

    @classmethod
    def replace_all(cls, node: Node, rows: Iterable[Mapping[str, Any]]) -> None:
        """What a node has now, in place of what it had."""
        new = [{"node": node, **row} for row in rows]  # which may be made from what there was
        cls.delete().where(cls.node == node).execute()
        for row in new:
            cls.create(**row)

    @classmethod
    def of(cls, node: Node) -> "list[NodeStorage]":
        """A node's storages by name."""
        return list(cls.select().where(cls.node == node).order_by(cls.name))

    @classmethod
    def for_disks(cls, nodes: Iterable[Node]) -> "dict[int, NodeStorage]":
        """The storages of the disks, by node id; nodes that have not told are left out."""
        wanted = [node.id for node in nodes]
        query = cls.select().join(Node).where(cls.node.in_(wanted) & (cls.name == Node.vm_storage))
        return {storage.node_id: storage for storage in query}

    @classmethod
    def sharing(cls, name: str, node_ids: Iterable[int]) -> list[Node]:
        """Those of these nodes that have a storage of this name for backups, which nodes share."""
        query: Any = cls.select(cls, Node).join(Node).where(cls.node.in_(list(node_ids)) & (cls.name == name))
        rows = query.where(cls.shared & cls.active).order_by(Node.id)
        return [row.node for row in rows if "backup" in row.content]


class NodeUsage(Table):
    """How a node was used in one stretch of time: means over the syncs in it."""

    node = ForeignKeyField(Node, backref="usage", on_delete="CASCADE")
    node_id: int
    resolution_seconds = IntegerField()
    at = UtcField()
    """When the stretch begins."""
    samples = IntegerField()
    cpu = FloatField()
    """0 to 1."""
    memory_used_bytes = FloatField()
    memory_bytes = BigIntegerField()
    storage_used_bytes = FloatField(null=True)
    """Of the `vm_storage`."""
    storage_bytes = BigIntegerField(null=True)
    running = FloatField()
    """VMs that ran."""

    class Meta:
        table_name = "node_usage"
        primary_key = CompositeKey("node", "resolution_seconds", "at")

    @classmethod
    def add(cls, node: Node, usage: Usage) -> None:
        """Count one look at a node, and forget what is older than it is kept."""
        at = now()
        for seconds, kept in RESOLUTIONS.items():
            start = _begin(at, seconds)
            same = (cls.node == node) & (cls.resolution_seconds == seconds)
            known: NodeUsage | None = cls.get_or_none(same & (cls.at == start))
            if known is None:
                cls.create(node=node, resolution_seconds=seconds, at=start, samples=1, **usage.model_dump())
                cls.delete().where(same & (cls.at < at - kept)).execute()
                continue
            means = {
                name: _mean(getattr(known, name), value, known.samples)
                for name, value in usage.model_dump().items()
            }
            cls.update(samples=known.samples + 1, **means).where(same & (cls.at == start)).execute()

    @classmethod
    def between(
        cls, node: Node, resolution_seconds: int, since: datetime, until: datetime
    ) -> "list[NodeUsage]":
        """What was recorded of a node in a time, the oldest first."""
        within = (cls.at >= since) & (cls.at < until)
        same = (cls.node == node) & (cls.resolution_seconds == resolution_seconds)
        return list(cls.select().where(same & within).order_by(cls.at))


def _begin(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


def _mean(before: float | None, value: float | None, samples: int) -> float | None:
    if before is None or value is None:
        return value
    return before + (value - before) / (samples + 1)
