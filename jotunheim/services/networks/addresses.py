"""The addresses of pools: handing them to servers, keeping them for something else."""

from jotunheim.data.node.change import AddressChange
from jotunheim.data.node.view import AddressView
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.spec import AddressCounts
from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, PlacementError
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.networks import pools
from jotunheim.services.networks.subnets import parse_address


def allocate(server: Server, node: Node, counts: AddressCounts) -> None:
    """Give a server its addresses, within the caller's transaction.

    Raises:
        PlacementError: the pools of the node have too few.
    """
    for family, wanted in (("ipv4", counts.ipv4), ("ipv6", counts.ipv6)):
        missing = wanted
        for pool in AddressPool.for_node(node, family) if wanted else []:
            if missing:
                missing -= pool.allocate(server, missing)
        if missing:
            raise PlacementError(
                f"{wanted} free {family} address(es) were asked for; the pools of node {node.name} are short of {missing}.",
                details=[FieldProblem(f"addresses.{family}", f"{missing} too many")],
                hint="Add an address pool for this node, or ask for fewer addresses.",
            )


def take(server: Server, ids: list[int]) -> None:
    """Give a server back the addresses that it had, within the caller's transaction.

    Raises:
        PlacementError: one of them is somebody else's by now, or reserved.
    """
    missing = set(ids) - set(Address.take(server, ids))
    if missing:
        raise PlacementError(
            f"{len(missing)} of the addresses that were asked for went to another server meanwhile, or were reserved.",
            hint="Ask for the change anew.",
        )


def list_addresses(pool_id: int, page: Page) -> Paged[AddressView]:
    """A page of a pool's addresses, in their order."""
    pool = pools.find(pool_id)
    sortable = {"address": Address.sort_key, "allocated_at": Address.allocated_at}
    found, total = paginate(Address.select().where(Address.pool == pool), page, sortable)
    return Paged([_view(address) for address in found], page, total)


def change_address(pool_id: int, address: str, change: AddressChange) -> AddressView:
    """Reserve an address, or no longer. One that a server has stays the server's until it gives it back.

    Raises:
        NotFoundError: there is no such pool, or it has no such address.
    """
    row = _find(pools.find(pool_id), address)
    if "reserved_for" in change.model_fields_set:
        row.reserve(change.reserved_for)
    return _view(row)


def remove_address(pool_id: int, address: str) -> AddressView:
    """Take an address out of its pool; returns what it was.

    Raises:
        NotFoundError: as `change_address`.
        ConflictError: a server has it, or it is the only one.
    """
    pool = pools.find(pool_id)
    row = _find(pool, address)
    if AddressPool.summaries([pool])[pool.id].total == 1:
        raise ConflictError("It is the pool's only address.", hint="Delete the pool.")
    if not row.remove():
        raise ConflictError(
            f"The address {row.address} is in use.",
            details=[FieldProblem("server", str(row.server_id))],
            hint="Reserve it: then nobody gets it when the server has given it back.",
        )
    return _view(row)


def _find(pool: AddressPool, address: str) -> Address:
    row = Address.in_pool(pool, str(parse_address("address", address, pool.family)))
    if row is None:
        raise NotFoundError("address", f"{address} in pool {pool.name}")
    return row


def _view(address: Address) -> AddressView:
    return AddressView(
        address=address.address,
        server_id=address.server_id,
        reserved_for=address.reserved_for,
        allocated_at=address.allocated_at,
    )
