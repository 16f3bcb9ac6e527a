"""Address pools: what may be handed out, and handing it out."""

import ipaddress
from collections.abc import Iterable, Iterator

from jotunheim.data.node.spec import MAX_POOL_ADDRESSES, Address, AddressPoolSpec, Network
from jotunheim.data.node.view import AddressPoolView
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.spec import AddressCounts
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, PlacementError
from jotunheim.repositories.peewee import addresses as rows
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.database import transaction, unique
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.servers import Server


def create_pool(spec: AddressPoolSpec) -> AddressPoolView:
    """Add a pool with all its addresses.

    Raises:
        DataValidationError: the addresses do not make sense, or a node does not exist.
        ConflictError: another pool has some of them.
        UniquenessError: the name is taken.
    """
    first, last, network, gateway = _subnet(spec)
    with transaction():
        problems = [
            FieldProblem(f"node_ids.{index}", f"there is no node {node_id}")
            for index, node_id in enumerate(spec.node_ids)
            if not Node.exists(node_id)
        ]
        if problems:
            raise DataValidationError(problems)
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
        pool.add_addresses(address for address in _between(first, last) if address != gateway)
        return _views([pool])[0]


def list_pools(page: Page) -> Paged[AddressPoolView]:
    """A page of all pools."""
    found, total = paginate(AddressPool.select(), page, [AddressPool.id, AddressPool.name])
    return Paged(_views(found), page, total)


def read_pool(id_: int) -> AddressPoolView:
    """One pool."""
    pool = AddressPool.get_or_none(AddressPool.id == id_)
    if pool is None:
        raise NotFoundError("address pool", id_)
    return _views([pool])[0]


def allocate(server: Server, node: Node, counts: AddressCounts) -> None:
    """Give a server its addresses, within the caller's transaction.

    Raises:
        PlacementError: the pools of the node have too few.
    """
    for family, wanted in (("ipv4", counts.ipv4), ("ipv6", counts.ipv6)):
        missing = wanted
        pools = AddressPool.for_node(node, family) if wanted else []
        for pool in pools:
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
        PlacementError: one of them is somebody else's by now.
    """
    missing = set(ids) - set(rows.Address.take(server, ids))
    if missing:
        raise PlacementError(
            f"{len(missing)} of the addresses that were asked for went to another server meanwhile.",
            hint="Ask for the change anew.",
        )


def _subnet(spec: AddressPoolSpec) -> tuple[Address, Address, Network, Address | None]:
    """First and last address, the subnet and the gateway; every problem is reported at once."""
    problems: list[FieldProblem] = []
    version = 4 if spec.family == "ipv4" else 6

    def parse(field: str, text: str | None) -> Address | None:
        if text is None:
            return None
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            problems.append(FieldProblem(field, f"{text!r} is not an IP address"))
            return None
        if address.version != version:
            problems.append(FieldProblem(field, f"is not an {spec.family} address"))
            return None
        return address

    first, last, gateway = (
        parse("first", spec.first),
        parse("last", spec.last),
        parse("gateway", spec.gateway),
    )
    for index, nameserver in enumerate(spec.nameservers):
        try:
            ipaddress.ip_address(nameserver)
        except ValueError:
            problems.append(FieldProblem(f"nameservers.{index}", f"{nameserver!r} is not an IP address"))
    network: Network | None = None
    if spec.prefix is not None:
        problems += [
            FieldProblem(field, "must not be given together with prefix")
            for field in ("first", "last", "prefix_length")
            if getattr(spec, field) is not None
        ]
        try:
            network = ipaddress.ip_network(spec.prefix)
        except ValueError:
            problems.append(
                FieldProblem("prefix", "must be a network such as 10.0.0.0/24, with no host bits set")
            )
        else:
            if network.version != version:
                problems.append(FieldProblem("prefix", f"is not an {spec.family} network"))
            first, last = _usable(network)
    else:
        problems += [
            FieldProblem(field, "is required unless prefix is given")
            for field in ("first", "last", "prefix_length")
            if getattr(spec, field) is None
        ]
        if spec.prefix_length is not None and spec.prefix_length > (32 if version == 4 else 128):
            problems.append(FieldProblem("prefix_length", "must be at most 32 for ipv4"))
        elif first is not None and spec.prefix_length is not None:
            network = ipaddress.ip_network((first, spec.prefix_length), strict=False)
    if first is not None and last is not None and network is not None and first.version == last.version:
        if int(last) < int(first):
            problems.append(FieldProblem("last", "must not come before first"))
        elif last not in network:
            problems.append(FieldProblem("last", f"is not in {network}"))
        if int(last) - int(first) >= MAX_POOL_ADDRESSES:
            problems.append(FieldProblem("last", f"a pool holds at most {MAX_POOL_ADDRESSES} addresses"))
    if first is not None and first == last == gateway:
        problems.append(FieldProblem("gateway", "is the only address of the pool"))
    if (
        gateway is not None
        and network is not None
        and gateway.version == network.version
        and gateway not in network
    ):
        problems.append(FieldProblem("gateway", f"is not in {network}"))
    if problems or first is None or last is None or network is None:
        raise DataValidationError(problems)
    return first, last, network, gateway


def _usable(network: Network) -> tuple[Address, Address]:
    """First and last address of a network that a host can have: not its own nor the broadcast address."""
    edge = 0 if network.num_addresses <= 2 else 1
    last_edge = edge if network.version == 4 else 0  # IPv6 has no broadcast address
    return network[edge], network[-1 - last_edge]


def _between(first: Address, last: Address) -> Iterator[Address]:
    for number in range(int(first), int(last) + 1):
        yield type(first)(number)


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
            created_at=pool.created_at,
            updated_at=pool.updated_at,
        )
        for pool in pools
    ]
