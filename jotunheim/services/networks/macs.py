"""MAC addresses of servers, where a pool says how they begin. A MAC address belongs to one server under a unique index.

A server gets it when it is created and keeps it: a rebuild or other addresses do not change it.
"""

import secrets

from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import serialize
from jotunheim.repositories.peewee.servers import Server

_OCTETS = 6
_DRAWS = 16


def assign(server: Server) -> None:
    """Give a new server a MAC address, if the pool of its first address says how it begins.

    Call it in the transaction that made the server: others that ask wait until that ends.

    Raises:
        PlacementError: all that begin so are in use.
    """
    addresses = [row for row in Address.of([server]).get(server.id, []) if row.pool.kind == row.pool.family]
    prefix = addresses[0].pool.mac_prefix if addresses else None
    if prefix is None:
        return
    mac = _free(prefix)
    if mac is None:
        raise PlacementError(
            f"All MAC addresses that begin with {prefix} are in use.",
            details=[FieldProblem("addresses", f"pool {addresses[0].pool.name} has no MAC address left")],
            hint="Give the pool a shorter or another mac_prefix.",
        )
    server.change(mac=mac)


def take(mac: str) -> str:
    """A MAC address that was shown in a preview; it is ours once the caller's transaction has stored it.

    Raises:
        PlacementError: it is in use by now.
    """
    serialize("mac")
    if Server.macs_among([mac]):
        raise PlacementError(f"The MAC address {mac} is in use by now.")
    return mac


def _free(prefix: str) -> str | None:
    """One by chance, so that what a switch remembers of a deleted server hardly meets a new one."""
    serialize("mac")
    count = 256 ** (_OCTETS - len(prefix.split(":")))
    drawn = [_mac(prefix, secrets.randbelow(count)) for _ in range(_DRAWS)]
    used = Server.macs_among(drawn)
    for mac in drawn:
        if mac not in used:
            return mac
    used = Server.macs_with(prefix)  # it is nearly full: look at all
    return next((mac for number in range(count) if (mac := _mac(prefix, number)) not in used), None)


def _mac(prefix: str, number: int) -> str:
    """The address with this number behind the prefix."""
    octets = prefix.split(":")
    return ":".join([*octets, *(f"{octet:02X}" for octet in number.to_bytes(_OCTETS - len(octets), "big"))])
