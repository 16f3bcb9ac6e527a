"""Servers whose VMs are not where we recorded them: moved by hand or by high availability, or gone.

A VM is recognised by its SMBIOS UUID and by nothing else; VMIDs and names only say where to look.
"""

import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from jotunheim.data.node.state import Moved
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.repository import UniquenessError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.database import locking, transaction
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.node_state import NodeState
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, facts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a VM is."""

    node: str
    vmid: int
    by_itself: bool = False
    """Whether that very node has said so, not another one of the server's cluster."""


@dataclass(frozen=True)
class Strays:
    """What is not where it should be.

    Attributes:
        found: where the VMs of servers are instead, by server id.
        missing: servers of the node whose VMs nobody in its cluster has.
        templates: ids of templates that the node does not have any more.
    """

    found: Mapping[uuid.UUID, Place] = field(default_factory=dict)
    missing: frozenset[uuid.UUID] = frozenset()
    templates: frozenset[int] = frozenset()


def find(node: Node, where: Endpoint, told: facts.Facts, asked_at: datetime) -> Strays:
    """Look for servers that should be on a node and are not, and for those that are and should not.

    Args:
        told: what the node has.
        asked_at: when it was asked for that.

    Raises:
        ProxmoxRequestError: the node gives no usable answer.
    """
    lost = [
        server for server in Server.on(node) if server.vmid not in told.vms and _is_settled(server, asked_at)
    ]
    guests = [server for server in Server.elsewhere(node, told.vms) if _may_have_come(server, told, asked_at)]
    templates = [template for template in Template.on(node) if not _has_template(told, template.vmid)]
    if not (lost or guests or templates):
        return Strays()
    with ProxmoxClient(where) as client:
        found = {
            server.id: Place(node.name, server.vmid, by_itself=True)
            for server in guests
            if facts.smbios_uuid(client, node.name, server.vmid) == str(server.id)
        }
        # A token that lost its rights sees an empty list: only what the node denies to have is gone.
        gone = [server for server in lost if facts.is_absent(client, node.name, server.vmid)]
        everywhere = facts.whereabouts(client) if gone else []
        missing = set()
        for server in gone:
            place = _place_of(client, server, everywhere)
            if place is None:
                missing.add(server.id)
            else:
                found[server.id] = place
        absent = {
            template.id
            for template in templates
            if template.vmid in told.vms or facts.is_absent(client, node.name, template.vmid)
        }
    return Strays(found, frozenset(missing), frozenset(absent))


def find_one(server: Server, where: Endpoint) -> Place | None:
    """Where in the cluster of its node a server's VM is; None: on its node, or nowhere.

    Raises:
        ProxmoxRequestError: the node gives no usable answer.
    """
    with ProxmoxClient(where) as client:
        if not facts.is_absent(client, server.node.name, server.vmid):
            return None
        return _place_of(client, server, facts.whereabouts(client))


def follow_one(server: Server, place: Place) -> bool:
    """Let the record of a server follow its VM. Within a transaction.

    Returns:
        Whether it did: not if we do not know the node, or if another server has the VMID.
    """
    before, target = server.node.name, _known(place, server)
    if target is None:
        log.warning("Server %s is on node %s now, which we do not know.", server.name, place.node)
        return False
    try:
        with transaction():
            server.follow(target, place.vmid)
    except UniquenessError as error:
        log.warning("%s", error.message)
        return False
    log.info("Server %s moved from node %s to %s.", server.name, before, target.name)
    return True


def _known(place: Place, server: Server) -> Node | None:
    """The node of a place. One of the same name in another cluster is another one."""
    if place.by_itself:
        return next(iter(Node.named([place.node])), None)
    state = NodeState.peers_by_name([place.node]).get(place.node)
    return state.node if state is not None and server.node.name in state.peers else None


def follow(strays: Strays, asked_at: datetime) -> list[Moved]:
    """Let the records of servers follow their VMs, if we know the nodes. Within a transaction."""
    moved = []
    for server in _still(strays.found, asked_at):
        place, before = strays.found[server.id], server.node.name
        if follow_one(server, place):
            moved.append(
                Moved(
                    server_id=server.id,
                    name=server.name,
                    from_node=before,
                    to_node=place.node,
                    vmid=place.vmid,
                )
            )
    return moved


def record_missing(node: Node, strays: Strays, told: facts.Facts, asked_at: datetime) -> list[str]:
    """Note which servers of a node have no VM, and which have one again. Within a transaction.

    Returns:
        Names of those that have none.
    """
    Server.note_present(node, told.vms)
    names = []
    for server in _still(strays.missing, asked_at):
        server.note_missing()
        names.append(server.name)
        log.warning("Node %s does not have the VM of server %s, nor has its cluster.", node.name, server.name)
    return names


def _still(ids: Mapping[uuid.UUID, Place] | frozenset[uuid.UUID], asked_at: datetime) -> Iterator[Server]:
    """Those of these servers that no job has touched since the node was asked; nobody else changes them now."""
    query = Server.with_places().where(Server.id.in_(list(ids))).order_by(Server.id)
    for server in locking(query, Server):
        if _is_settled(server, asked_at):
            yield server


def _is_settled(server: Server, asked_at: datetime) -> bool:
    """Whether its VM should be there, and no job is about to change that."""
    return server.status == ServerStatus.READY and not job_history.busy_since(server, asked_at)


def _may_have_come(server: Server, told: facts.Facts, asked_at: datetime) -> bool:
    """Whether a VM with its VMID can be it: in one cluster a VM is in one place, elsewhere it could be a copy."""
    in_cluster = server.node.name in told.peers
    return (in_cluster or server.missing_since is not None) and _is_settled(server, asked_at)


def _has_template(told: facts.Facts, vmid: int) -> bool:
    vm = told.vms.get(vmid)
    return vm is not None and vm.template


def _place_of(client: ProxmoxClient, server: Server, everywhere: list[tuple[int, str, str]]) -> Place | None:
    """Where in the cluster a server's VM is: under its VMID on another node, or under its name with another VMID."""
    names = {server.name, server.hostname, server.hostname.partition(".")[0]}
    here = [guest for guest in everywhere if guest[0] == server.vmid]
    named = [guest for guest in everywhere if guest[0] != server.vmid and guest[2] in names]
    taken = Server.vmids_among(vmid for vmid, _, _ in named)
    for vmid, node, _ in here + [guest for guest in named if guest[0] not in taken]:
        if facts.smbios_uuid(client, node, vmid) == str(server.id):
            return Place(node, vmid)
    return None
