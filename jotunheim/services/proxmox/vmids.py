"""Hands out VMIDs. A VMID belongs to one server row under a unique index; nodes are not asked.

PVE's own `/cluster/nextid` reserves nothing: two callers get the same number. We take the lowest number of
our range instead, and when a node turns out to use it for a VM of somebody else, the build notes that and
takes another.
"""

from collections.abc import Iterable

from jotunheim.exceptions.service import PlacementError
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.vmids import ForeignVmid, lowest_free_vmid
from jotunheim.settings import Settings


def reserve(settings: Settings) -> int:
    """A VMID that no server has; it is ours once the caller's transaction has stored it.

    Raises:
        PlacementError: the range is used up.
    """
    vmid = lowest_free_vmid(settings.vmid_first, settings.vmid_last)
    if vmid is None:
        raise PlacementError(
            f"All VMIDs from {settings.vmid_first} to {settings.vmid_last} are taken.",
            hint="Widen JOTUNHEIM_VMID_FIRST … JOTUNHEIM_VMID_LAST.",
        )
    return vmid


def take(vmid: int) -> int:
    """A VMID that was shown in a preview; it is ours once the caller's transaction has stored it.

    Raises:
        PlacementError: it is in use by now.
    """
    if lowest_free_vmid(vmid, vmid) is None:
        raise PlacementError(f"VMID {vmid} is in use by now.")
    return vmid


def replace(server: Server, node: Node, taken: Iterable[int], settings: Settings) -> int:
    """Give a server another VMID, since its own is used on the node by a VM that is not ours.

    Args:
        taken: VMIDs in use on the node or its cluster; those of our own servers are left out.
    """
    ForeignVmid.note(node, set(taken) - Server.vmids_among(taken) | {server.vmid})
    vmid = reserve(settings)
    server.move_to_vmid(vmid)
    return vmid


def replace_scratch(server: Server, node: Node, taken: Iterable[int], settings: Settings) -> int:
    """Give a server another VMID to be rebuilt under, since that one is in use on the node.

    Args:
        taken: as for `replace`.
    """
    own = {server.scratch_vmid} if server.scratch_vmid else set()
    ForeignVmid.note(node, set(taken) - Server.vmids_among(taken) | own)
    vmid = reserve(settings)
    server.change(scratch_vmid=vmid)
    return vmid
