"""Address pools: adding, showing, changing and deleting them."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from jotunheim.data.node.change import AddressPoolChange
from jotunheim.data.node.spec import Address, AddressPoolSpec, AddressRangeSpec, Network
from jotunheim.data.node.view import AddressPoolView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee import addresses as rows
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.database import serialize, transaction, unique
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.pool_summaries import PoolSummary, summaries, summary
from jotunheim.repositories.peewee.sort_keys import sort_key
from jotunheim.services import resources
from jotunheim.services.networks.overlaps import assert_no_address, assert_unclaimed
from jotunheim.services.networks.subnets import (
    ONLY_ADDRESSES,
    Range,
    Subnet,
    gateway_problems,
    parse_address,
    subnet_of,
)

RESERVED_AT_ONCE = "reserved when the pool was made"
FILTERS = {"name": AddressPool.name, "family": AddressPool.family, "node_id": AddressPool.serving}
SORTABLE = {
    "id": AddressPool.id,
    "name": AddressPool.name,
    "family": AddressPool.family,
    "created_at": AddressPool.created_at,
    "updated_at": AddressPool.updated_at,
}


def create_pool(spec: AddressPoolSpec) -> AddressPoolView:
    """Add a pool with all its addresses.

    Raises:
        DataValidationError: the addresses do not make sense, or a node does not exist.
        ConflictError: another pool has some of them, or its gateway among them.
        UniquenessError: the name is taken.
    """
    wanted = subnet_of(spec)
    with transaction():
        _assert_nodes(spec.node_ids)
        _serialize()
        assert_unclaimed(wanted.range, "first" if spec.prefix is None else "prefix", wanted.gateway)
        if wanted.gateway is not None:
            assert_no_address(wanted.gateway)
        with unique(f"There is an address pool {spec.name} already."):
            pool: AddressPool = AddressPool.create(
                name=spec.name,
                family=spec.family,
                prefix_length=wanted.network.prefixlen,
                gateway=str(wanted.gateway) if wanted.gateway else None,
                vlan=spec.vlan,
                nameservers=spec.nameservers,
                mac_prefix=spec.mac_prefix,
                quarantine_seconds=spec.quarantine_seconds,
                delegated_prefix_length=spec.delegated_prefix_length,
            )
        pool.bind_to(spec.node_ids)
        pool.add_addresses(wanted.addresses)
        if spec.reserved_addresses:
            begins = (ip_network(text).network_address for text in spec.reserved_addresses)
            pool.reserve(map(sort_key, begins), RESERVED_AT_ONCE)
        return view(pool)


def extend_pool(pool: AddressPool, spec: AddressRangeSpec) -> None:
    """Give a pool more addresses of its subnet.

    Raises:
        DataValidationError: they are none, not in the subnet, or too many.
        ConflictError: a pool has some of them, this one too, or its gateway among them.
    """
    first = parse_address("first", spec.first, pool.family)
    last = first if spec.last is None else parse_address("last", spec.last, pool.family)
    more = Range(first, last, pool.delegated_prefix_length)
    _serialize()
    present = summary(pool)
    gateway = parse_address("gateway", pool.gateway, pool.family) if pool.gateway else None
    subnet = Subnet(_network(pool, present), more, gateway)
    problems = more.problems_in(subnet.network, present.total)
    if not problems and next(subnet.addresses, None) is None:
        problems = [FieldProblem("first", "is the pool's gateway, or an address that no host can have")]
    if problems:
        raise DataValidationError(problems)
    assert_unclaimed(more, "first", gateway)
    pool.add_addresses(subnet.addresses)
    pool.change()


def list_pools(page: Page, wanted: Mapping[str, Any]) -> Paged[AddressPoolView]:
    """A page of the pools that these filters let through."""
    found, total = paginate(narrowed(AddressPool.select(), FILTERS, wanted), page, SORTABLE)
    return Paged(_views(found), page, total)


def find(id_: int, if_match: str | None = None) -> AddressPool:
    """One pool; raises as `resources.find`."""
    return resources.find(AddressPool, "address pool", id_, if_match)


def change_pool(pool: AddressPool, change: AddressPoolChange) -> None:
    """Change a pool; servers get it when they are configured next.

    Raises:
        DataValidationError: the gateway does not fit, the pool has prefixes instead of addresses, or a node does not exist.
        ConflictError: a server has the address of the gateway, or another pool.
        UniquenessError: the name is taken.
    """
    columns = change.given()
    node_ids = columns.pop("node_ids", None)
    problems = [
        FieldProblem(field, "is for pools of addresses, and this one has prefixes")
        for field in ONLY_ADDRESSES
        if pool.delegated_prefix_length and columns.get(field)
    ]
    if problems:
        raise DataValidationError(problems)
    if columns.get("gateway") is not None:
        columns["gateway"] = _take_out(pool, columns["gateway"])
    with unique(f"There is an address pool {change.name} already."):
        if node_ids is not None:
            _assert_nodes(node_ids)
            pool.bind_to(node_ids)
        pool.change(**columns)


def delete_pool(pool: AddressPool) -> None:
    """Delete a pool with its addresses.

    Raises:
        ConflictError, InUseError: servers have some of them.
    """
    resources.assert_unused("address pool", {"servers": rows.Address.holders(pool, resources.SHOWN)})
    pool.remove()


def _serialize() -> None:
    """Let pools be made and changed one after the other: each looks at what the others have."""
    serialize("address pools")


def _network(pool: AddressPool, present: PoolSummary) -> Network:
    return ip_network(f"{present.first}/{pool.prefix_length}", strict=False)


def _take_out(pool: AddressPool, gateway: str) -> str:
    """Make sure that no server gets the address of the gateway, and has it neither."""
    address: Address = parse_address("gateway", gateway, pool.family)
    _serialize()
    present = summary(pool)
    problems = gateway_problems(address, _network(pool, present))
    row = rows.Address.in_pool(pool, address)
    if row is not None and present.total == 1:
        problems.append(FieldProblem("gateway", "is the only address of the pool"))
    if problems:
        raise DataValidationError(problems)
    assert_no_address(address, pool)
    if row is not None and not row.remove():
        raise ConflictError(
            f"A server has the address {address}.", details=[FieldProblem("gateway", "is a server's address")]
        )
    return str(address)


def _assert_nodes(node_ids: Iterable[int]) -> None:
    problems = [
        FieldProblem(f"node_ids.{index}", f"there is no node {node_id}")
        for index, node_id in enumerate(node_ids)
        if not Node.exists(node_id)
    ]
    if problems:
        raise DataValidationError(problems)


def view(pool: AddressPool) -> AddressPoolView:
    """A pool as the API shows it. Raises NotFoundError when it has just been deleted."""
    for shown in _views([pool]):
        return shown
    raise NotFoundError("address pool", pool.id)


def _views(pools: Iterable[AddressPool]) -> list[AddressPoolView]:
    pools = list(pools)
    found = summaries(pools)
    nodes = AddressPool.node_ids(pools)
    return [
        AddressPoolView(
            id=pool.id,
            name=pool.name,
            family=pool.family,
            first=found[pool.id].first,
            last=found[pool.id].last,
            prefix_length=pool.prefix_length,
            gateway=pool.gateway,
            vlan=pool.vlan,
            nameservers=pool.nameservers,
            node_ids=nodes.get(pool.id, []),
            mac_prefix=pool.mac_prefix,
            quarantine_seconds=pool.quarantine_seconds,
            delegated_prefix_length=pool.delegated_prefix_length,
            total=found[pool.id].total,
            free=found[pool.id].free,
            reserved=found[pool.id].reserved,
            quarantined=found[pool.id].quarantined,
            created_at=pool.created_at,
            updated_at=pool.updated_at,
        )
        for pool in pools
        if pool.id in found  # else it was deleted between the queries: each pool has addresses
    ]
