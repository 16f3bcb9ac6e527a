"""Imports a server: records the VM that somebody else has made as it is, and queues that it is marked.

The VM's own SMBIOS UUID becomes the server's id, so that its description is all that changes. Only when it has none, or
another server has it (VMs restored from a backup have the same), the server gets a new one, and the VM with it.
"""

import ipaddress
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.fields import is_dns_name
from jotunheim.data.job import JobType
from jotunheim.data.server.importing import ImportRequest, Obstacle
from jotunheim.data.server.status import Power
from jotunheim.exceptions.model import DataValidationError, FieldProblem, all_problems
from jotunheim.exceptions.repository import (
    ProxmoxRequestError,
    ProxmoxUnavailableError,
    ProxmoxVmNotFoundError,
)
from jotunheim.exceptions.service import ConflictError, LockedError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.database import now, previewed, unique
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.orphans import Orphan
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.vmids import claim_vmid
from jotunheim.repositories.proxmox import ProxmoxClient, reads
from jotunheim.repositories.proxmox.configuration import Configuration
from jotunheim.services.networks import addresses
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.nodes.unmanaged import mark_of, obstacles
from jotunheim.services.servers import live, plans, read
from jotunheim.services.servers.create import PARAMETERS, Created, as_parameters
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import MAX_ATTEMPTS, enqueue
from jotunheim.settings import Settings

_SAYS = {
    Obstacle.TEMPLATE: "is a template",
    Obstacle.LOCKED: "is locked: something is being done to it",
    Obstacle.MARKED: "is marked for a server that is none of ours; `force` takes it all the same",
    Obstacle.COPY: "is marked for a server that has another VM; take the first line off its notes first",
}


@dataclass(frozen=True)
class Found:
    """What the node says of a VM.

    Attributes:
        addresses: those that its configuration and its guest agent tell.
    """

    config: Configuration
    power: Power
    addresses: Sequence[str]


def look(wanted: ImportRequest, keyring: Keyring, settings: Settings) -> Found:
    """Read the VM that is to be imported. Call it outside of a transaction: the node is asked.

    Raises:
        DataValidationError: there is no such node, or it has no such VM.
        NodeUnavailableError: the node gives no usable answer.
    """
    node: Node | None = Node.get_or_none(Node.id == wanted.node_id)
    if node is None:
        raise DataValidationError([FieldProblem("node_id", f"there is no node {wanted.node_id}")])
    with live.asking(node, endpoint(node, keyring, settings)) as client:
        try:
            config = reads.vm_configuration(client, node.name, wanted.vmid)
            power = Power(reads.vm_status(client, node.name, wanted.vmid))
        except ProxmoxVmNotFoundError:
            problem = f"node {node.name} has no VM {wanted.vmid}; containers are none"
            raise DataValidationError([FieldProblem("vmid", problem)]) from None
        told = _told_by_agent(client, node, wanted.vmid) if config.agent and power is Power.RUNNING else []
    return Found(config, power, list(dict.fromkeys(_usable([*config.addresses, *told]))))


def import_server(wanted: ImportRequest, found: Found, actor: Actor, manner: Manner) -> Created:
    """Record a server as the VM is, with those of its addresses that the pools have, and queue that it is marked.

    A preview undoes it all, and keeps only its job, with what the server would have been.

    Raises:
        DataValidationError: the request names what does not exist or does not fit together.
        ConflictError: the VM cannot be imported, is a server already, or has another server's address.
        LockedError: it is being removed, as an orphan.
        UniquenessError: the owner has a server with this name or external id.
        PlacementError: an address went to another server in this moment.
    """
    owner_id = wanted.owner_id or actor.user_id
    shown: Mapping[str, Any] = manner.planned["server"] if manner.planned is not None else {}
    if shown:
        owner_id = shown["owner"]  # whoever applies the plan
    with all_problems() as collect:
        node = collect(_node, wanted)
        collect(_assert_owner, owner_id)
        collect(_assert_template, wanted)
    name = wanted.name or _name(found.config, wanted.vmid)
    with (
        unique(
            f"There is a server {name} of this owner already.",
            vmid=f"VM {wanted.vmid} is a server already.",
            external_id=f"There is a server with the external id {wanted.external_id} of this owner already.",
        ),
        previewed(manner.check),
    ):
        _assert_importable(wanted, found.config, node)
        id_, kept = _id(found.config, shown)
        server = _record(wanted, found, node, owner_id, name, id_)
        taken, left = _claim(server, node, found.addresses)
        parameters = {
            **as_parameters(server, with_password=False),
            "found_uuid": found.config.smbios_uuid,
            "replaces": "" if found.config.mark in (None, str(id_)) else found.config.mark,
            "addresses_taken": taken,
            "addresses_left": left,
            "uuid_kept": kept,
        }
        if not manner.check:
            return Created(read.read_server(server.id), _enqueue(server, actor, parameters, manner), None)
        view = read.read_server(server.id)
    job = Job.enqueue(
        type=JobType.IMPORT,
        node=node,
        max_attempts=MAX_ATTEMPTS,
        requested_by=actor.email,
        request_id=actor.request_id,
        parameters=parameters,
        check_only=True,
    )
    plans.settle(manner, job, None, vmid=wanted.vmid)
    return Created(view, job, None)


def _enqueue(server: Server, actor: Actor, parameters: Mapping[str, Any], manner: Manner) -> Job:
    if manner.planned is not None:
        plans.assert_same(manner.planned, parameters, PARAMETERS)
    job = enqueue(server, JobType.IMPORT, actor, parameters)
    plans.settle(manner, job, server)
    return job


def _told_by_agent(client: ProxmoxClient, node: Node, vmid: int) -> list[str]:
    try:
        return reads.guest_addresses(client, node.name, vmid)
    except ProxmoxUnavailableError:
        raise
    except ProxmoxRequestError:  # a guest without a running agent is nothing special
        return []


def _usable(addresses: Iterable[str]) -> Iterator[str]:
    """Addresses as pools spell them, without those that every link has."""
    for text in addresses:
        with suppress(ValueError):
            address = ipaddress.ip_address(text.partition("%")[0])
            if not address.is_link_local and not address.is_loopback:
                yield str(address)


def _node(wanted: ImportRequest) -> Node:
    node: Node | None = Node.get_or_none(Node.id == wanted.node_id)
    if node is None:
        raise DataValidationError([FieldProblem("node_id", f"there is no node {wanted.node_id}")])
    return node


def _assert_owner(id_: int) -> None:
    if not User.exists(id_):
        raise DataValidationError([FieldProblem("owner_id", f"there is no user {id_}")])


def _assert_template(wanted: ImportRequest) -> None:
    if wanted.template_id is None:
        return
    template = Template.with_node(wanted.template_id)
    if template is None:
        problem = f"there is no template {wanted.template_id}"
    elif template.node_id != wanted.node_id:
        problem = f"template {template.id} is on node {template.node_id} ({template.node.name})"
    else:
        return
    raise DataValidationError([FieldProblem("template_id", problem)])


def _assert_importable(wanted: ImportRequest, config: Configuration, node: Node) -> None:
    """Make sure that the VM is nobody's. From here on nobody else takes or prunes it, until the transaction ends."""
    Node.hold(node.id)
    removing = Orphan.job_removing(node, wanted.vmid)
    if removing is not None:
        raise LockedError(removing, JobType.ORPHAN_PRUNE, what="VM")
    if not claim_vmid(wanted.vmid):
        server = Server.by_vmid([wanted.vmid])[wanted.vmid]
        where = "" if server.node_id == node.id else f" on node {server.node.name}"
        raise ConflictError(
            f"VMID {wanted.vmid} is that of server {server.name}{where} already.",
            details=[FieldProblem("vmid", f"is that of server {server.id}")],
        )
    marks = [mark for mark in [mark_of(config)] if mark]
    reasons = obstacles(config, Server.ids_among(marks), job_history.gave_up_imports(marks))
    if wanted.force:
        reasons = [reason for reason in reasons if reason is not Obstacle.MARKED]
    if reasons:
        raise ConflictError(
            f"VM {wanted.vmid} of node {node.name} cannot be imported.",
            details=[FieldProblem("vmid", _SAYS[reason]) for reason in reasons],
        )


def _id(config: Configuration, shown: Mapping[str, Any]) -> tuple[uuid.UUID, bool]:
    """The server's id, and whether it is the VM's own SMBIOS UUID."""
    own = config.uuid
    if own is not None and not Server.ids_among([own]):
        return own, True
    return (uuid.UUID(shown["id"]) if shown else uuid.uuid4()), False


def _name(config: Configuration, vmid: int) -> str:
    return config.name if config.name and is_dns_name(config.name) else f"vm-{vmid}"


def _record(
    wanted: ImportRequest, found: Found, node: Node, owner_id: int, name: str, id_: uuid.UUID
) -> Server:
    config = found.config
    cloud_init = {
        "user": config.user,
        "nameservers": config.nameservers,
        "search_domain": config.search_domain,
    }
    server: Server = Server.create(
        id=id_,
        vmid=wanted.vmid,
        name=name,
        hostname=wanted.hostname or _name(config, wanted.vmid),
        power=found.power,
        owner=owner_id,
        node=node,
        template=wanted.template_id,
        imported=True,
        cpu=config.cores,
        memory_bytes=config.memory_bytes,
        disk_bytes=config.disk_bytes,
        ssh_keys=config.ssh_keys,
        tags=config.tags,
        limits=wanted.limits.model_dump(),
        external_id=wanted.external_id,
        description=config.description,
        network=config.network,
        cloud_init={key: value for key, value in cloud_init.items() if value},
        iso=config.image,
        agent=config.agent,
        anti_spoofing=False,  # what it has by hand stays until somebody says otherwise
        firewall=None,
        protected=wanted.protected,
    )
    Label.attach(server, wanted.labels)
    return server


def _claim(server: Server, node: Node, told: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Give a server those of its VM's addresses that the node's pools have.

    Returns:
        Those that it has got, and the others with why not.

    Raises:
        ConflictError: another server has one of them.
    """
    pools = [pool for family in ("ipv4", "ipv6") for pool in AddressPool.for_node(node, family)]
    known = {address.address: address for address in Address.named(told, pools)}
    others = [address for address in known.values() if address.server_id is not None]
    if others:
        raise ConflictError(
            "The VM has addresses of other servers.",
            details=[
                FieldProblem("addresses", f"{address.address} is server {address.server.name}'s")
                for address in others
                if address.server
            ],
            hint="Change the address of one of them first.",
        )
    free = [one for one in known.values() if one.reserved_for is None and one.free_from <= now()]
    for address in free:  # one by one: the first one is the first interface's
        addresses.take(server, [address.id])
    left = []
    for text in told:
        if text not in known:
            left.append({"address": text, "reason": "no pool of the node has it"})
        elif known[text].reserved_for is not None:
            left.append({"address": text, "reason": f"it is reserved for {known[text].reserved_for}"})
        elif known[text] not in free:
            until = known[text].free_from.isoformat(timespec="seconds")
            left.append({"address": text, "reason": f"it is in quarantine until {until}"})
    return [address.address for address in free], left
