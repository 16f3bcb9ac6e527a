"""Which pools have addresses, or gateways, in a range."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from peewee import fn

from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.sort_keys import sort_key


def addresses_between(first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> list[Address]:
    """Of each pool that has addresses, or prefixes with addresses, between these two: one, with its pool."""
    within = Address.sort_key.between(sort_key(first), sort_key(last))
    if isinstance(first, IPv6Address):
        length = AddressPool.delegated_prefix_length
        lengths: Any = AddressPool.select(length).where(length.is_null(False)).distinct().tuples()
        for (known,) in lengths:
            begun = IPv6Network((first, known), strict=False).network_address
            within |= (length == known) & (Address.sort_key == sort_key(begun))
    found: Any = Address.select(fn.MIN(Address.id)).join(AddressPool).where(within).group_by(Address.pool)
    query = Address.select(Address, AddressPool).join(AddressPool).where(Address.id.in_(found))
    return list(query.order_by(Address.pool))


def gateways_between(first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> list[AddressPool]:
    """Pools whose gateway is between these two."""
    with_gateway = AddressPool.select().where(AddressPool.gateway.is_null(False)).order_by(AddressPool.id)
    low, high = sort_key(first), sort_key(last)
    return [pool for pool in with_gateway if low <= sort_key(ip_address(str(pool.gateway))) <= high]
