"""Which addresses webhooks may call: public ones. Else an owner's URL would be a way into the operator's network.

IPv4 by the IANA IPv4 Special-Purpose Address Registry; of IPv6 the global unicast addresses (RFC 4291) but for those of the
IPv6 Special-Purpose Address Registry, among them all that embed IPv4 addresses: mapped, translated (NAT64), 6to4, Teredo.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from jotunheim.data.webhook.url import Address
from jotunheim.settings import Settings

Networks = tuple[IPv4Network | IPv6Network, ...]

_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
)


def is_public(address: Address) -> bool:
    """Whether an address is somebody's on the internet."""
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    return not _is_in(address, _NOT_PUBLIC)


def is_permitted(address: Address, networks: Networks, *, plain: bool) -> bool:
    """Whether a webhook may call an address.

    Args:
        networks: what may be called although it is not public.
        plain: without TLS; that goes nowhere but into these networks.
    """
    return _is_in(address, networks) or (not plain and is_public(address))


def networks_for(owner_id: int | None, settings: Settings) -> Networks:
    """Networks that a webhook of this owner may call although they are not public; None: of the operators."""
    return settings.webhook_networks if owner_id is None else settings.webhook_owner_networks


def _is_in(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
