"""Address pools: adding, showing, changing and deleting them."""

from collections.abc import Iterable
from ipaddress import ip_network

from jotunheim.data.node.change import AddressPoolChange
from jotunheim.data.node.spec import AddressPoolSpec
from jotunheim.data.node.view import AddressPoolView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee import addresses as rows
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.database import transaction, unique
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.services.networks.subnets import between, parse_address, subnet_of
from jotunheim.services.nodes import resources


def create_pool(spec: AddressPoolSpec) -> AddressPoolView:
    """Add a pool with all its addresses.

    Raises:
        DataValidationError: the addresses do not make sense, or a node does not exist.
        ConflictError: another pool has some of them.
        UniquenessError: the name is taken.
    """
    first, last, network, gateway = subnet_of(spec)
    with transaction():
        _assert_nodes(spec.node_ids)
        other = rows.Address.overlapping(first, last)
        if other is not None:
            raise ConflictError(
                f"The pool {other.pool.name} has addresses of this range already, for example {other.address}.",
                details=[FieldProblem("first", f"overlaps with pool {other.pool.id}")],
            )
        with unique(f"There is an address pool {spec.name} already."):
            pool: AddressPool = AddressPool.create(
                name=spec.name,
                family=spec.family,
                prefix_length=network.prefixlen,
                gateway=str(gateway) if gateway else None,
                vlan=spec.vlan,
                nameservers=spec.nameservers,
            )
        pool.bind_to(spec.node_ids)
        pool.add_addresses(address for address in between(first, last) if address != gateway)
        return view(pool)


def list_pools(page: Page) -> Paged[AddressPoolView]:
    """A page of all pools."""
    found, total = paginate(AddressPool.select(), page, [AddressPool.id, AddressPool.name])
    return Paged(_views(found), page, total)


def find(id_: int, if_match: str | None = None) -> AddressPool:
    """One pool; raises as `resources.find`."""
    return resources.find(AddressPool, "address pool", id_, if_match)


def change_pool(pool: AddressPool, change: AddressPoolChange) -> None:
    """Change a pool; servers get it when they are configured next.

    Raises:
        DataValidationError: the gateway does not fit, or a node does not exist.
        ConflictError: a server has the address of the gateway.
        UniquenessError: the name is taken.
    """
    columns = change.given()
    node_ids = columns.pop("node_ids", None)
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


def _take_out(pool: AddressPool, gateway: str) -> str:
    """Make sure that no server gets the address of the gateway, and has it neither."""
    address = parse_address("gateway", gateway, pool.family)
    summary = AddressPool.summaries([pool])[pool.id]
    network = ip_network(f"{summary.first}/{pool.prefix_length}", strict=False)
    if address not in network:
        raise DataValidationError([FieldProblem("gateway", f"is not in {network}")])
    row = rows.Address.in_pool(pool, str(address))
    if row is not None and summary.total == 1:
        raise DataValidationError([FieldProblem("gateway", "is the only address of the pool")])
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
    summaries = AddressPool.summaries(pools)
    nodes = AddressPool.node_ids(pools)
    return [
        AddressPoolView(
            id=pool.id,
            name=pool.name,
            family=pool.family,
            first=summaries[pool.id].first,
            last=summaries[pool.id].last,
            prefix_length=pool.prefix_length,
            gateway=pool.gateway,
            vlan=pool.vlan,
            nameservers=pool.nameservers,
            node_ids=nodes.get(pool.id, []),
            total=summaries[pool.id].total,
            free=summaries[pool.id].free,
            reserved=summaries[pool.id].reserved,
            created_at=pool.created_at,
            updated_at=pool.updated_at,
        )
        for pool in pools
        if pool.id in summaries  # else it was deleted between the queries: each pool has addresses
    ]
