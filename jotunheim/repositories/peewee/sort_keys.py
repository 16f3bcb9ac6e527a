"""Texts that sort as IP addresses do, in every database."""

import ipaddress


def sort_key(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The text of an address; the family stands first."""
    width = 32 if isinstance(address, ipaddress.IPv6Address) else 8
    return f"{address.version}{int(address):0{width}x}"


def from_sort_key(key: str) -> str:
    """The address that a sort key stands for."""
    number = int(key[1:], 16)
    return str(ipaddress.IPv6Address(number) if key[0] == "6" else ipaddress.IPv4Address(number))
