"""Address pools and the addresses in them. An address belongs to at most one server, held by the database."""

import ipaddress
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peewee import (
    JOIN,
    AutoField,
    Case,
    CharField,
    Check,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    fn,
)

from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, database, now, unused
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_INSERT = "INSERT INTO address (pool_id, address, sort_key) VALUES ({param}, {param}, {param})"


class AddressPool(Versioned, Table):
    """Addresses of one subnet that servers on some nodes, or on all, may get."""

    id = AutoField()
    name = CharField(unique=True)
    family = CharField(max_length=4, constraints=[Check("family in ('ipv4', 'ipv6')")])
    prefix_length = IntegerField()
    gateway = CharField(null=True)
    vlan = IntegerField(null=True)
    nameservers = JSONField(default=list)
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def for_node(cls, node: Node, family: str) -> "list[AddressPool]":
        """Pools of a family that serve this node: those bound to it, and those bound to no node."""
        bound = PoolNode.select(PoolNode.pool).where(PoolNode.node == node)
        anywhere = ~fn.EXISTS(PoolNode.select().where(PoolNode.pool == cls.id))
        return list(
            cls.select().where((cls.family == family) & (cls.id.in_(bound) | anywhere)).order_by(cls.id)
        )

    def add_addresses(self, addresses: "Iterable[IPv4Address | IPv6Address]") -> None:
        """Put addresses into the pool."""
        rows = ((self.id, str(address), sort_key(address)) for address in addresses)
        # Not with `insert_many`: composing statements for tens of thousands of rows takes longer than their insertion.
        database.cursor().executemany(_INSERT.format(param=database.obj.param), rows)

    def allocate(self, server: Server, count: int) -> int:
        """Give the lowest free addresses of this pool to a server, in one statement.

        Returns:
            How many it got; fewer than asked for when the pool is short.
        """
        free = (
            Address.select(Address.id)
            .where((Address.pool == self) & Address.is_free())
            .order_by(Address.sort_key)
            .limit(count)
        )
        # The second condition holds where the subquery's view is older than a concurrent writer's commit.
        return int(
            Address.update(server=server, allocated_at=now())
            .where(Address.id.in_(free) & Address.is_free())
            .execute()
        )

    def bind_to(self, node_ids: Iterable[int]) -> None:
        """Let the pool serve only these nodes, or all if there is none."""
        PoolNode.delete().where(PoolNode.pool == self).execute()
        for node_id in dict.fromkeys(node_ids):
            PoolNode.create(pool=self, node=node_id)

    def remove(self) -> None:
        """Delete the pool with its addresses.

        Raises:
            InUseError: a server has one of them.
        """
        with unused(f"A server has an address of pool {self.name}."):
            PoolNode.delete().where(PoolNode.pool == self).execute()
            Address.delete().where((Address.pool == self) & Address.server.is_null()).execute()
            self.delete_instance()

    @classmethod
    def names_for(cls, node: Node) -> list[str]:
        """Names of the pools that are bound to a node."""
        query = cls.select(cls.name).join(PoolNode).where(PoolNode.node == node).order_by(cls.name)
        return [pool.name for pool in query]

    @classmethod
    def node_ids(cls, pools: "Iterable[AddressPool]") -> dict[int, list[int]]:
        """Ids of the nodes that pools are bound to, by pool id."""
        found: dict[int, list[int]] = {}
        query = (
            PoolNode.select().where(PoolNode.pool.in_([pool.id for pool in pools])).order_by(PoolNode.node)
        )
        for binding in query:
            found.setdefault(binding.pool_id, []).append(binding.node_id)
        return found

    @classmethod
    def summaries(cls, pools: "Iterable[AddressPool]") -> "dict[int, PoolSummary]":
        """Extent and use of pools, by pool id; one query for all."""
        query: Any = (
            Address.select(
                Address.pool,
                fn.COUNT(Address.id),
                fn.COUNT(Address.server),
                fn.SUM(Case(None, [(Address.server.is_null() & Address.reserved_for.is_null(False), 1)], 0)),
                fn.MIN(Address.sort_key),
                fn.MAX(Address.sort_key),
            )
            .where(Address.pool.in_([pool.id for pool in pools]))
            .group_by(Address.pool)
            .tuples()
        )
        return {
            pool: PoolSummary(
                from_sort_key(first), from_sort_key(last), total, total - used - kept, int(kept)
            )
            for pool, total, used, kept, first, last in query
        }


@dataclass(frozen=True)
class PoolSummary:
    """From which to which address a pool goes, how many it has, how many are free and how many reserved."""

    first: str
    last: str
    total: int
    free: int
    reserved: int


class PoolNode(Table):
    """A node that a pool serves."""

    pool = ForeignKeyField(AddressPool, backref="bindings", on_delete="CASCADE")
    pool_id: int
    node = ForeignKeyField(Node, on_delete="CASCADE")
    node_id: int

    class Meta:
        primary_key = CompositeKey("pool", "node")
        table_name = "address_pool_node"


class Address(Table):
    """One address, free while it has no server and is kept for nothing else."""

    id = AutoField()
    pool = ForeignKeyField(AddressPool, backref="addresses", on_delete="RESTRICT", index=False)
    address = CharField(max_length=39)
    sort_key = CharField(max_length=33)
    server = ForeignKeyField(Server, backref="addresses", null=True, on_delete="RESTRICT")
    server_id: uuid.UUID | None
    allocated_at = UtcField(null=True)
    reserved_for = CharField(null=True)

    class Meta:
        indexes = ((("pool", "address"), True), (("pool", "server", "sort_key"), False))

    @classmethod
    def is_free(cls) -> Any:
        """The condition that a server can get the address."""
        return cls.server.is_null() & cls.reserved_for.is_null()

    @classmethod
    def in_pool(cls, pool: AddressPool, address: str) -> "Address | None":
        """An address of a pool."""
        found: Address | None = cls.get_or_none((cls.pool == pool) & (cls.address == address))
        return found

    def reserve(self, reserved_for: str | None) -> None:
        """Keep the address for something, or for nothing any more."""
        self.reserved_for = reserved_for
        Address.update(reserved_for=reserved_for).where(Address.id == self.id).execute()

    def remove(self) -> bool:
        """Take the address out of its pool; False: a server has it."""
        gone = Address.delete().where((Address.id == self.id) & Address.server.is_null()).execute()
        return bool(gone)

    @classmethod
    def holders(cls, pool: AddressPool, limit: int) -> tuple[list[str], int]:
        """Names of some servers with addresses of a pool, and how many servers there are."""
        servers = (
            Server.select(Server.name).join(cls).where(cls.pool == pool).distinct().order_by(Server.name)
        )
        return [server.name for server in servers.limit(limit)], servers.count()

    @classmethod
    def of(cls, servers: Iterable[Server]) -> "dict[uuid.UUID, list[Address]]":
        """Addresses with their pools, by server id; of each family the ones first that it has had for longest."""
        found: dict[uuid.UUID, list[Address]] = {}
        query = (
            cls.select(cls, AddressPool)
            .join(AddressPool, JOIN.INNER)
            .where(cls.server.in_([server.id for server in servers]))
            .order_by(AddressPool.family, cls.allocated_at, cls.sort_key)
        )
        for address in query:
            assert address.server_id is not None
            found.setdefault(address.server_id, []).append(address)
        return found

    @classmethod
    def by_ids(cls, ids: Iterable[int]) -> "list[Address]":
        """Addresses with their pools, in this order."""
        wanted = list(ids)
        query = cls.select(cls, AddressPool).join(AddressPool, JOIN.INNER).where(cls.id.in_(wanted))
        found = {address.id: address for address in query}
        return [found[id_] for id_ in wanted if id_ in found]

    @classmethod
    def named(cls, addresses: Iterable[str], pools: Iterable[AddressPool]) -> "list[Address]":
        """Those of these addresses that pools have, with the servers that have them, in this order."""
        wanted = list(addresses)
        query = (
            cls.select(cls, Server)
            .join(Server, JOIN.LEFT_OUTER)
            .where(cls.address.in_(wanted) & cls.pool.in_([pool.id for pool in pools]))
        )
        return sorted(query, key=lambda found: wanted.index(found.address))

    @classmethod
    def ids_of(cls, server: Server) -> list[int]:
        """Ids of a server's addresses."""
        return [address.id for address in cls.of([server]).get(server.id, [])]

    @classmethod
    def take(cls, server: Server, ids: Iterable[int]) -> list[int]:
        """Give a server those of these addresses that are free; returns the ids of those that it has then."""
        wanted = list(ids)
        cls.update(server=server, allocated_at=now()).where(cls.id.in_(wanted) & cls.is_free()).execute()
        return [
            address.id for address in cls.select(cls.id).where(cls.id.in_(wanted) & (cls.server == server))
        ]

    @classmethod
    def keep_only(cls, server: Server, ids: Iterable[int]) -> None:
        """Give all addresses of a server but these back to their pools."""
        others = (cls.server == server) & cls.id.not_in(list(ids))
        cls.update(server=None, allocated_at=None).where(others).execute()

    @classmethod
    def release(cls, server: Server) -> None:
        """Give all addresses of a server back to their pools."""
        cls.update(server=None, allocated_at=None).where(cls.server == server).execute()

    @classmethod
    def overlapping(
        cls, first: "IPv4Address | IPv6Address", last: "IPv4Address | IPv6Address"
    ) -> "Address | None":
        """An address between these two that some pool has, with its pool."""
        found: Address | None = (
            cls.select(cls, AddressPool)
            .join(AddressPool)
            .where(cls.sort_key.between(sort_key(first), sort_key(last)))
            .first()
        )
        return found


def from_sort_key(key: str) -> str:
    """The address that a sort key stands for."""
    number = int(key[1:], 16)
    return str(ipaddress.IPv6Address(number) if key[0] == "6" else ipaddress.IPv4Address(number))


def sort_key(address: "IPv4Address | IPv6Address") -> str:
    """Text that sorts as addresses do; the family stands first."""
    width = 32 if isinstance(address, ipaddress.IPv6Address) else 8
    return f"{address.version}{int(address):0{width}x}"
