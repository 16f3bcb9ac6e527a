"""The addresses that a caller wants just so, and those that only shall be enough."""

import ipaddress

from jotunheim.data.node.view import AddressState
from jotunheim.data.server.spec import KINDS, AddressCounts
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.database import serialize
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.sort_keys import sort_key
from jotunheim.services.networks import addresses

_FIELD = "addresses.explicit"


def provide(server: Server, node: Node, wanted: AddressCounts) -> None:
    """Give a new server the addresses that were asked for, within the caller's transaction.

    Raises:
        DataValidationError: no pool of the node has one that was named.
        PlacementError: it is not to be had, or the pools have too few.
    """
    named = claim(server, node, wanted.explicit)
    missing = {kind: getattr(wanted, kind) - sum(row.pool.kind == kind for row in named) for kind in KINDS}
    addresses.allocate(server, node, AddressCounts(**{kind: max(0, n) for kind, n in missing.items()}))


def claim(server: Server, node: Node, explicit: list[str]) -> list[Address]:
    """Give a server just these addresses and prefixes, unless it has them; within the caller's transaction.

    Each is taken by one statement, and only one that failed is looked at.

    Raises:
        DataValidationError: no pool of the node has one of them; the details name each.
        PlacementError: one is somebody else's, reserved, or in quarantine.
    """
    if not explicit:
        return []
    serialize("addresses")
    pools = {kind: AddressPool.for_node(node, kind) for kind in KINDS}
    unknown, refused, claimed = [], [], []
    for index, text in enumerate(explicit):
        network = ipaddress.ip_network(text)
        kind = KINDS[-1] if "/" in text else f"ipv{network.version}"
        length = network.prefixlen if "/" in text else None
        fitting = [pool for pool in pools[kind] if pool.delegated_prefix_length == length]
        key = sort_key(network.network_address)
        taken = Address.claim(server, fitting, key)  # one by one: the first one is the first interface's
        row = Address.with_key(key)
        if row is None or row.pool not in fitting:
            unknown.append(FieldProblem(f"{_FIELD}.{index}", f"no pool of node {node.name} has it"))
        elif taken or row.server_id == server.id:
            claimed.append(row)
        else:
            refused.append(FieldProblem(f"{_FIELD}.{index}", _why_not(row)))
    if unknown:
        raise DataValidationError(unknown)
    if refused:
        named = "; ".join(f"{explicit[int(one.field.rpartition('.')[2])]} {one.message}" for one in refused)
        raise PlacementError(f"Addresses that were asked for are not to be had: {named}.", details=refused)
    return claimed


def _why_not(row: Address) -> str:
    match row.state:
        case AddressState.ALLOCATED:
            return f"is an address of server {row.server.name if row.server else row.server_id}"
        case AddressState.RESERVED:
            return f"is reserved for {row.reserved_for}"
        case AddressState.QUARANTINED:
            return f"is in quarantine until {row.free_from:%Y-%m-%dT%H:%M:%SZ}"
        case AddressState.FREE:
            return "was given back just now; ask again"
