"""The addresses of pools: handing them to servers, keeping them for something else."""

from collections.abc import Mapping
from typing import Any

from jotunheim.data.node.change import AddressChange
from jotunheim.data.node.view import AddressView
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.spec import KINDS, PREFIXES, AddressCounts
from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, PlacementError
from jotunheim.repositories.peewee import pool_summaries
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.database import serialize
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.networks import pools
from jotunheim.services.networks.subnets import parse_address

FILTERS = {"state": Address.in_state, "server_id": Address.server}
SORTABLE = {
    "address": Address.sort_key,
    "allocated_at": Address.allocated_at,
    "quarantined_until": Address.free_from,
}
_NAMES = {"ipv4": "ipv4 address(es)", "ipv6": "ipv6 address(es)", PREFIXES: "IPv6 prefix(es)"}


def allocate(server: Server, node: Node, counts: AddressCounts) -> None:
    """Give a server so many more addresses and prefixes, within the caller's transaction.

    Raises:
        PlacementError: the pools of the node have too few; the details name each kind.
    """
    wanted = {kind: getattr(counts, kind) for kind in KINDS if getattr(counts, kind)}
    if not wanted:
        return
    serialize("addresses")  # else one that waits for another's rows would find the pool empty
    missing = dict(wanted)
    for kind in wanted:
        for pool in AddressPool.for_node(node, kind):
            if missing[kind]:
                missing[kind] -= pool.allocate(server, missing[kind])
    short = {kind: count for kind, count in missing.items() if count}
    if short:
        told = "; ".join(
            f"{wanted[kind]} free {_NAMES[kind]} were asked for, {count} more than the pools of node {node.name} have"
            for kind, count in short.items()
        )
        raise PlacementError(
            f"{told}.",
            details=[FieldProblem(f"addresses.{kind}", f"{count} too many") for kind, count in short.items()],
            hint="Add an address pool for this node, or ask for fewer addresses.",
        )


def take(server: Server, ids: list[int]) -> None:
    """Give a server back the addresses that it had, within the caller's transaction.

    Raises:
        PlacementError: one of them is somebody else's by now, reserved, or in quarantine.
    """
    missing = set(ids) - set(Address.take(server, ids))
    if missing:
        raise PlacementError(
            f"{len(missing)} of the addresses that were asked for went to another server meanwhile, were reserved, or are in quarantine.",
            hint="Ask for the change anew.",
        )


def list_addresses(pool_id: int, page: Page, wanted: Mapping[str, Any]) -> Paged[AddressView]:
    """A page of those of a pool's addresses that these filters let through, in their order."""
    pool = pools.find(pool_id)
    query = Address.select(Address, AddressPool).join(AddressPool).where(Address.pool == pool)
    found, total = paginate(narrowed(query, FILTERS, wanted), page, SORTABLE)
    return Paged([view(address) for address in found], page, total)


def read_address(pool_id: int, address: str) -> AddressView:
    """An address of a pool, or a prefix. Raises NotFoundError: there is no such pool, or it has none such."""
    return view(_find(pools.find(pool_id), address))


def change_address(pool_id: int, address: str, change: AddressChange) -> AddressView:
    """Reserve an address, or no longer; end its quarantine. One that a server has stays its own until it gives it back.

    Raises:
        NotFoundError: as `read_address`.
    """
    row = _find(pools.find(pool_id), address)
    if "reserved_for" in change.model_fields_set:
        row.reserve(change.reserved_for)
    if "quarantined_until" in change.model_fields_set:
        row.end_quarantine()
    return view(row)


def remove_address(pool_id: int, address: str) -> AddressView:
    """Take an address out of its pool; returns what it was.

    Raises:
        NotFoundError: as `read_address`.
        ConflictError: a server has it, or it is the only one.
    """
    pool = pools.find(pool_id)
    row = _find(pool, address)
    if pool_summaries.summary(pool).total == 1:
        raise ConflictError("It is the pool's only address.", hint="Delete the pool.")
    if not row.remove():
        raise ConflictError(
            f"The address {row.address} is in use.",
            details=[FieldProblem("server", str(row.server_id))],
            hint="Reserve it: then nobody gets it when the server has given it back.",
        )
    return view(row)


def _find(pool: AddressPool, address: str) -> Address:
    text, slash, length = address.partition("/")
    row = Address.in_pool(pool, parse_address("address", text, pool.family))
    if row is None or (slash and length != str(pool.delegated_prefix_length)):
        raise NotFoundError("address", f"{address} in pool {pool.name}")
    return row


def view(address: Address) -> AddressView:
    """An address as the API shows it."""
    return AddressView(
        address=address.text,
        state=address.state,
        server_id=address.server_id,
        reserved_for=address.reserved_for,
        allocated_at=address.allocated_at,
        quarantined_until=address.quarantined_until,
    )
