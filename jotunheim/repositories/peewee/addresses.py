"""Address pools and the addresses in them. An address belongs to at most one server, held by the database.

A pool that delegates has whole IPv6 prefixes in the place of addresses; each stands in its row by its first address.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from peewee import (
    JOIN,
    AutoField,
    BigIntegerField,
    Case,
    CharField,
    Check,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    UUIDField,
    fn,
)

from jotunheim.data.node.view import AddressState
from jotunheim.data.server.spec import PREFIXES
from jotunheim.repositories.peewee.database import (
    EPOCH,
    Table,
    UtcField,
    Versioned,
    among,
    insert_rows,
    now,
    unused,
)
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.sort_keys import sort_key

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_MICROSECONDS = 1_000_000


class AddressPool(Versioned, Table):
    """Addresses of one subnet that servers on some nodes, or on all, may get."""

    id = AutoField()
    name = CharField(unique=True)
    family = CharField(max_length=4, constraints=[Check("family in ('ipv4', 'ipv6')")])
    prefix_length = IntegerField()
    gateway = CharField(null=True)
    vlan = IntegerField(null=True)
    nameservers = JSONField(default=list)
    mac_prefix = CharField(max_length=14, null=True)
    """How the MAC addresses of servers begin whose first address is from here; None: Proxmox VE chooses them."""
    quarantine_seconds = BigIntegerField(default=0)
    """How long an address that was given back goes to no other server."""
    delegated_prefix_length = IntegerField(null=True)
    """Of the prefixes that the pool has instead of addresses; None: it has addresses."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @property
    def kind(self) -> str:
        """What its addresses are: `ipv4`, `ipv6` or `ipv6_prefixes`."""
        return PREFIXES if self.delegated_prefix_length else str(self.family)

    @classmethod
    def serving(cls, node: Node | int) -> Any:
        """The condition that a pool serves a node: it is bound to it, or to no node."""
        bound = PoolNode.select(PoolNode.pool).where(PoolNode.node == node)
        anywhere = ~fn.EXISTS(PoolNode.select().where(PoolNode.pool == cls.id))
        return cls.id.in_(bound) | anywhere

    @classmethod
    def for_node(cls, node: Node, kind: str) -> "list[AddressPool]":
        """Pools of a kind that serve this node."""
        family = "ipv6" if kind == PREFIXES else kind
        of_kind = (cls.family == family) & cls.delegated_prefix_length.is_null(kind != PREFIXES)
        return list(cls.select().where(of_kind & cls.serving(node)).order_by(cls.id))

    def add_addresses(self, addresses: "Iterable[IPv4Address | IPv6Address]") -> None:
        """Put addresses into the pool, none of which is in a pool."""
        rows = ((self.id, str(each), sort_key(each), 0) for each in addresses)
        insert_rows("address", ("pool_id", "address", "sort_key", "free_from"), rows)

    def reserve(self, keys: Iterable[str], reserved_for: str) -> None:
        """Keep the addresses with these sort keys for something."""
        Address.update(reserved_for=reserved_for).where(
            (Address.pool == self) & Address.sort_key.in_(list(keys))
        ).execute()

    def allocate(self, server: Server, count: int) -> int:
        """Give free addresses of this pool to a server, in one statement: the lowest that nobody gave back into quarantine,
        then those whose quarantine ended first.

        Returns:
            How many it got; fewer than asked for when the pool is short.
        """
        free = (
            Address.select(Address.id)
            .where((Address.pool == self) & Address.is_free())
            .order_by(Address.free_from, Address.sort_key)  # the order of the index
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
    """One address, or delegated prefix; free while it has no server, is kept for nothing else, and is not in quarantine."""

    id = AutoField()
    pool = ForeignKeyField(AddressPool, backref="addresses", on_delete="RESTRICT", index=False)
    address = CharField(max_length=39)
    sort_key = CharField(max_length=33, unique=True)
    server = ForeignKeyField(Server, backref="addresses", null=True, on_delete="RESTRICT")
    server_id: uuid.UUID | None
    pool_id: int
    allocated_at = UtcField(null=True)
    reserved_for = CharField(null=True)
    free_from = UtcField(default=EPOCH)
    """When its quarantine ends, or has ended."""
    released_by = UUIDField(null=True)
    """The server that had it last: quarantine does not keep it from that one."""

    class Meta:
        indexes = ((("pool", "sort_key"), False),)

    @property
    def text(self) -> str:
        """The address, or the prefix with its length."""
        length = self.pool.delegated_prefix_length
        return f"{self.address}/{length}" if length else str(self.address)

    @property
    def quarantined_until(self) -> datetime | None:
        """When its quarantine ends; None: it is in none."""
        until: datetime = self.free_from
        return until if self.server_id is None and until > now() else None

    @property
    def state(self) -> AddressState:
        """Whether a server can get it, and if not, why."""
        if self.server_id is not None:
            return AddressState.ALLOCATED
        if self.reserved_for is not None:
            return AddressState.RESERVED
        return AddressState.QUARANTINED if self.quarantined_until else AddressState.FREE

    @classmethod
    def in_state(cls, state: AddressState) -> Any:
        """The condition that an address is in a state."""
        unreserved = cls.server.is_null() & cls.reserved_for.is_null()
        match state:
            case AddressState.ALLOCATED:
                return cls.server.is_null(False)
            case AddressState.RESERVED:
                return cls.server.is_null() & cls.reserved_for.is_null(False)
            case AddressState.QUARANTINED:
                return unreserved & (cls.free_from > now())
            case AddressState.FREE:
                return unreserved & (cls.free_from <= now())

    @classmethod
    def is_free(cls) -> Any:
        """The condition that any server can get the address."""
        return cls.in_state(AddressState.FREE)

    @classmethod
    def is_for(cls, server: Server) -> Any:
        """The condition that this server can get the address: it is free, or nobody had it since this server had."""
        own = cls.in_state(AddressState.QUARANTINED) & (cls.released_by == server.id)
        return cls.is_free() | own

    @classmethod
    def in_pool(cls, pool: AddressPool, address: "IPv4Address | IPv6Address") -> "Address | None":
        """An address of a pool, or the prefix that begins with it."""
        found: Address | None = cls.get_or_none((cls.sort_key == sort_key(address)) & (cls.pool == pool))
        return found

    @classmethod
    def with_key(cls, key: str) -> "Address | None":
        """The address with this sort key, with its pool and its server."""
        query = (
            cls.select(cls, AddressPool, Server).join(AddressPool).switch(cls).join(Server, JOIN.LEFT_OUTER)
        )
        found: Address | None = query.where(cls.sort_key == key).first()
        return found

    def reserve(self, reserved_for: str | None) -> None:
        """Keep the address for something, or for nothing any more."""
        self.reserved_for = reserved_for
        Address.update(reserved_for=reserved_for).where(Address.id == self.id).execute()

    def end_quarantine(self) -> None:
        """Let any server get the address that can get free ones."""
        self.free_from = EPOCH
        Address.update(free_from=EPOCH).where(Address.id == self.id).execute()

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
        """Addresses and delegated prefixes with their pools, by server id; of each family the ones first that it has had for longest."""
        rows = list(cls.select().where(among(cls.server, (server.id for server in servers))))
        # Many have the same pool: joined rows would make it anew for each.
        pools = AddressPool.select().where(AddressPool.id.in_({row.pool_id for row in rows})) if rows else ()
        by_id = {pool.id: pool for pool in pools}
        found: dict[uuid.UUID, list[Address]] = {}
        for row in rows:
            assert row.server_id is not None
            row.pool = by_id[row.pool_id]
            found.setdefault(row.server_id, []).append(row)
        for held in found.values():
            held.sort(key=lambda row: (row.pool.family, row.allocated_at or EPOCH, row.sort_key))
        return found

    @classmethod
    def delegated_prefixes_of(cls, server: Server) -> list[str]:
        """The IPv6 prefixes that are delegated to a server, as `2001:db8:0:5::/64`."""
        return [each.text for each in cls.of([server]).get(server.id, []) if each.pool.kind == PREFIXES]

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
        """Give a server those of these addresses that it can get; returns the ids of those that it has then."""
        wanted = list(ids)
        cls.update(server=server, allocated_at=now()).where(cls.id.in_(wanted) & cls.is_for(server)).execute()
        return [
            address.id for address in cls.select(cls.id).where(cls.id.in_(wanted) & (cls.server == server))
        ]

    @classmethod
    def claim(cls, server: Server, pools: Iterable[AddressPool], key: str) -> bool:
        """Give a server the address with this sort key, if one of these pools has it and the server can get it."""
        wanted = (cls.sort_key == key) & cls.pool.in_([pool.id for pool in pools])
        taken = cls.update(server=server, allocated_at=now()).where(wanted & cls.is_for(server)).execute()
        return bool(taken)

    @classmethod
    def keep_only(cls, server: Server, ids: Iterable[int]) -> None:
        """Give all addresses of a server but these back to their pools."""
        cls._give_back((cls.server == server) & cls.id.not_in(list(ids)))

    @classmethod
    def release(cls, server: Server) -> None:
        """Give all addresses of a server back to their pools."""
        cls._give_back(cls.server == server)

    @classmethod
    def _give_back(cls, condition: Any) -> None:
        """Quarantine begins now; without one, nothing keeps them from being the first to go again."""
        seconds = AddressPool.quarantine_seconds
        ends = seconds * _MICROSECONDS + UtcField().db_value(now())
        free_from = AddressPool.select(Case(None, [(seconds > 0, ends)], 0)).where(AddressPool.id == cls.pool)
        cls.update(server=None, allocated_at=None, free_from=free_from, released_by=cls.server).where(
            condition
        ).execute()


Address.add_index(
    Address.index(
        Address.pool,
        Address.free_from,
        Address.sort_key,
        where=Address.server.is_null() & Address.reserved_for.is_null(),
        name="address_next",
    )
)
"""Those that servers can get, once their quarantine is over, in the order in which they go."""
