"""Machines on a node that are none of our servers, and whether they can become some. The node is asked each time."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.importing import GuestKind, Obstacle, UnmanagedView
from jotunheim.exceptions.repository import ProxmoxVmNotFoundError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import ProxmoxClient, reads
from jotunheim.repositories.proxmox.configuration import Configuration
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.servers import live
from jotunheim.settings import Settings

_SORTABLE: Mapping[str, Callable[[reads.Guest], Any]] = {
    "vmid": lambda guest: guest.vmid,
    "name": lambda guest: guest.name,
    "status": lambda guest: guest.status,
    "kind": lambda guest: str(_kind(guest)),
    "cpu": lambda guest: guest.cores,
    "memory_bytes": lambda guest: guest.memory_bytes,
    "disk_bytes": lambda guest: guest.disk_bytes,
}


@dataclass(frozen=True)
class Wanted:
    """Which machines are to be listed; None: all.

    Attributes:
        name: this stands in their names, in upper or lower case.
        importable: they can be imported, or they cannot.
    """

    vmid: int | None = None
    name: str | None = None
    status: str | None = None
    kind: GuestKind | None = None
    importable: bool | None = None

    def fits(self, guest: reads.Guest) -> bool:
        """Whether a machine is one of those, as far as the node's list tells."""
        return (
            self.vmid in (None, guest.vmid)
            and (self.name is None or self.name.lower() in guest.name.lower())
            and self.status in (None, guest.status)
            and self.kind in (None, _kind(guest))
        )


def list_unmanaged(
    node: Node, wanted: Wanted, page: Page, keyring: Keyring, settings: Settings
) -> Paged[UnmanagedView]:
    """A page of the machines on a node that are none of our servers. Call it outside of a transaction.

    The configurations of those on the page are read, and of all only when it counts whether they can be imported.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
        DataValidationError: `page.sort` names no field.
    """
    with live.asking(node, endpoint(node, keyring, settings)) as client:
        listed = [guest for guest in reads.guests(client, node.name) if wanted.fits(guest)]
        ours = Server.by_vmid(guest.vmid for guest in listed)
        foreign = [guest for guest in listed if guest.vmid not in ours or ours[guest.vmid].node_id != node.id]
        shown = partial(_views, client, node, ours)
        if wanted.importable is None:
            found = Paged.cut(foreign, page, _SORTABLE)
            return Paged(shown(found.items), page, found.total)
        views = {view.vmid: view for view in shown(foreign) if view.importable is wanted.importable}
        found = Paged.cut([guest for guest in foreign if guest.vmid in views], page, _SORTABLE)
        return Paged([views[guest.vmid] for guest in found.items], page, found.total)


def obstacles(
    config: Configuration, known: Iterable[uuid.UUID], given_up: Iterable[uuid.UUID]
) -> list[Obstacle]:
    """What in a VM's configuration keeps it from being imported.

    Args:
        known: ids of our servers, as far as VMs are marked for them.
        given_up: ids that imports of ours have used and given up.
    """
    found = []
    if config.template:
        found.append(Obstacle.TEMPLATE)
    if config.lock:
        found.append(Obstacle.LOCKED)
    marked = mark_of(config)
    if marked in set(known):
        found.append(Obstacle.COPY)
    elif config.mark is not None and marked not in set(given_up):
        found.append(Obstacle.MARKED)
    return found


def mark_of(config: Configuration) -> uuid.UUID | None:
    """The server that a VM is marked for; None: for none, or something that is no UUID."""
    with suppress(ValueError):
        return uuid.UUID(config.mark or "")
    return None


def _views(
    client: ProxmoxClient, node: Node, ours: Mapping[int, Server], guests: Sequence[reads.Guest]
) -> list[UnmanagedView]:
    configs = {}
    for guest in guests:
        with suppress(ProxmoxVmNotFoundError):  # it went in between
            configs[guest.vmid] = (
                None if guest.container else reads.vm_configuration(client, node.name, guest.vmid)
            )
    marks = [mark for config in configs.values() if config and (mark := mark_of(config))]
    known, given_up = Server.ids_among(marks), job_history.gave_up_imports(marks)
    views = []
    for guest in guests:
        if guest.vmid not in configs:
            continue
        config = configs[guest.vmid]
        reasons = [Obstacle.CONTAINER] if config is None else obstacles(config, known, given_up)
        if guest.vmid in ours:
            reasons.append(Obstacle.VMID_TAKEN)
        views.append(
            UnmanagedView(
                vmid=guest.vmid,
                kind=_kind(guest),
                name=guest.name,
                status=guest.status,
                cpu=guest.cores,
                memory_bytes=guest.memory_bytes,
                disk_bytes=guest.disk_bytes,
                importable=not reasons,
                reasons=reasons,
            )
        )
    return views


def _kind(guest: reads.Guest) -> GuestKind:
    return GuestKind.CONTAINER if guest.container else GuestKind.VM
