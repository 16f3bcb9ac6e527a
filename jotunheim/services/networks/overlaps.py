"""What pools would contradict each other: an address is in one pool, and a pool's gateway goes to no server of another."""

from jotunheim.data.node.spec import Address
from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.overlaps import addresses_between, gateways_between
from jotunheim.services.networks.subnets import Range

SHOWN = 5


def assert_unclaimed(range_: Range, field: str, gateway: Address | None) -> None:
    """Make sure that a range of new addresses is nobody's.

    Args:
        field: what to name in the error.
        gateway: of the pool that gets them; it is not one of them.

    Raises:
        ConflictError: pools have some of these addresses, or gateways among them; the details name each pool.
    """
    details = [
        FieldProblem(field, f"overlaps with pool {row.pool.id} ({row.pool.name}), which has {row.text}")
        for row in addresses_between(range_.first, range_.end)
    ]
    details += [
        FieldProblem(field, f"has {pool.gateway}, the gateway of pool {pool.id} ({pool.name})")
        for pool in gateways_between(range_.first, range_.end)
        if pool.gateway != str(gateway)
    ]
    if details:
        shown = "; ".join(detail.message for detail in details[:SHOWN])
        raise ConflictError(f"The range {shown}.", details=details)


def assert_no_address(gateway: Address, pool: AddressPool | None = None) -> None:
    """Make sure that no pool gives the address of a new gateway to a server.

    Args:
        pool: the one whose gateway it shall be, when there is it already.

    Raises:
        ConflictError: another pool has it.
    """
    others = [row for row in addresses_between(gateway, gateway) if pool is None or row.pool != pool]
    if others:
        details = [
            FieldProblem("gateway", f"is an address of pool {row.pool.id} ({row.pool.name})")
            for row in others
        ]
        raise ConflictError(
            f"The gateway {details[0].message}.",
            details=details,
            hint="Take it out of that pool first.",
        )
