"""Servers: rows, their legal transitions, their labels, and the queries on them."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    UUIDField,
)

from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import Table, UtcField, database, now, serialize
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template

TRANSITIONS: Mapping[ServerStatus, frozenset[ServerStatus]] = {
    ServerStatus.BUILDING: frozenset({ServerStatus.READY, ServerStatus.BUILD_FAILED}),
    ServerStatus.BUILD_FAILED: frozenset({ServerStatus.BUILDING}),
    ServerStatus.READY: frozenset(),
}
"""From each status to those that may follow it."""


class Server(Table):
    """One virtual machine that we own. The id is the VM's SMBIOS UUID."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    vmid = IntegerField(unique=True)
    """Unique over all nodes: nodes of one cluster share their VMIDs."""
    name = CharField()
    hostname = CharField()
    status = CharField(max_length=16, default=ServerStatus.BUILDING)
    power = CharField(max_length=16, default=Power.UNKNOWN)
    owner = ForeignKeyField(User, backref="servers", on_delete="RESTRICT")
    owner_id: int
    node = ForeignKeyField(Node, backref="servers", on_delete="RESTRICT")
    template = ForeignKeyField(Template, backref="servers", on_delete="RESTRICT")
    cpu = IntegerField()
    memory_bytes = BigIntegerField()
    disk_bytes = BigIntegerField(null=True)
    """None: as large as the template's, until a build has read it back."""
    ssh_keys = JSONField(default=list)
    tags = JSONField(default=list)
    limits = JSONField(default=dict)
    external_id = CharField(null=True)
    start_after_build = BooleanField(default=True)
    protected = BooleanField(default=False)
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        indexes = ((("owner", "name"), True), (("owner", "external_id"), True), (("status",), False))

    @property
    def password_reference(self) -> str:
        """Name of the secret that holds the password until the build has handed it over."""
        return f"server/{self.id}/password"

    @classmethod
    def with_places(cls, labels: Mapping[str, str]) -> Any:
        """A select of servers that have all these labels, with node, location and template joined."""
        query = cls.select(cls, Node, Location, Template).join(Node).join(Location).switch(cls).join(Template)
        for key, value in labels.items():
            labelled = Label.select(Label.server).where((Label.key == key) & (Label.value == value))
            query = query.where(cls.id.in_(labelled))
        return query

    @classmethod
    def vmids_among(cls, vmids: Iterable[int]) -> set[int]:
        """Those of these VMIDs that our servers have."""
        return {server.vmid for server in cls.select(cls.vmid).where(cls.vmid.in_(list(vmids)))}

    def mark_building(self) -> None:
        """A build begins again after a failed one."""
        self._move(ServerStatus.BUILDING)

    def mark_ready(self, power: Power, disk_bytes: int | None) -> None:
        """The build is done; this is what was read back."""
        self._move(ServerStatus.READY, power=power, disk_bytes=disk_bytes)

    def mark_build_failed(self) -> None:
        """The build ended without a server."""
        self._move(ServerStatus.BUILD_FAILED)

    def move_to_vmid(self, vmid: int) -> None:
        """Take another VMID, before a VM exists: the first one turned out to be in use on the node."""
        Server.update(vmid=vmid, updated_at=now()).where(Server.id == self.id).execute()
        self.vmid = vmid

    def _move(self, wanted: ServerStatus, **columns: object) -> None:
        current = ServerStatus(self.status)
        if current is wanted:
            return
        if wanted not in TRANSITIONS[current]:
            raise IllegalTransitionError(f"Server {self.name}", current, wanted)
        moved = (
            Server.update(status=wanted, updated_at=now(), **columns)
            .where((Server.id == self.id) & (Server.status == current))
            .execute()
        )
        if not moved:
            raise IllegalTransitionError(f"Server {self.name}", "no longer " + current, wanted)
        self.status = wanted


class Label(Table):
    """One label of a server."""

    server = ForeignKeyField(Server, backref="labels", on_delete="CASCADE")
    server_id: uuid.UUID
    key = CharField(max_length=63)
    value = CharField(max_length=255)

    class Meta:
        table_name = "server_label"
        primary_key = CompositeKey("server", "key")
        indexes = ((("key", "value"), False),)

    @classmethod
    def attach(cls, server: Server, labels: Mapping[str, str]) -> None:
        """Give labels to a new server."""
        if labels:
            cls.insert_many(
                [{"server": server, "key": key, "value": value} for key, value in labels.items()]
            ).execute()

    @classmethod
    def of(cls, servers: Iterable[Server]) -> dict[uuid.UUID, dict[str, str]]:
        """Labels by server id."""
        found: dict[uuid.UUID, dict[str, str]] = {}
        query = cls.select().where(cls.server.in_([server.id for server in servers])).order_by(cls.key)
        for label in query:
            found.setdefault(label.server_id, {})[label.key] = label.value
        return found


class ForeignVmid(Table):
    """A VMID in our range that a node uses for a VM that is not ours, noted when a build met it."""

    vmid = IntegerField(primary_key=True)
    node = ForeignKeyField(Node, on_delete="CASCADE")
    seen_at = UtcField(default=now)

    @classmethod
    def note(cls, node: Node, vmids: Iterable[int]) -> None:
        """Remember VMIDs that must not be handed out."""
        for vmid in vmids:
            cls.insert(vmid=vmid, node=node, seen_at=now()).on_conflict_ignore().execute()


def lowest_free_vmid(first: int, last: int) -> int | None:
    """The lowest VMID of a range that no server has and no node is known to use; None when there is none.

    Call it in the transaction that stores the result: others that ask wait until that ends.
    """
    serialize("vmid")
    row = database.execute_sql(
        _LOWEST_FREE_VMID.format(param=database.obj.param), (first, first, first, last)
    ).fetchone()
    found: int | None = row[0]
    return found


_LOWEST_FREE_VMID = """
    SELECT MIN(candidate) FROM (
        SELECT {param} AS candidate
        UNION ALL SELECT vmid + 1 FROM server WHERE vmid >= {param}
        UNION ALL SELECT vmid + 1 FROM foreign_vmid WHERE vmid >= {param}
    ) AS candidates
    WHERE candidate <= {param}
      AND NOT EXISTS (SELECT 1 FROM server WHERE vmid = candidate)
      AND NOT EXISTS (SELECT 1 FROM foreign_vmid WHERE vmid = candidate)
"""
