"""Servers as the API and inventories show them: a fixed number of queries however many they are."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jotunheim.data.server.iso import MountedIso
from jotunheim.data.server.spec import PREFIXES
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.data.server.view import (
    AddressView,
    LocationSummary,
    NodeSummary,
    ServerView,
    Suspension,
    TemplateSummary,
)
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.paging import narrowed
from jotunheim.repositories.peewee.servers import Server

FILTERS = {
    "name": Server.name,
    "status": Server.status,
    "power": Server.power,
    "suspended": lambda value: Server.suspended_at.is_null(not value),
    "protected": Server.protected,
    "owner_id": Server.owner,
    "node_id": Server.node,
    "location_id": Server.in_location,
    "template_id": Server.template,
    "vmid": Server.vmid,
    "external_id": Server.external_id,
}


def select(wanted: Mapping[str, Any]) -> Any:
    """A select of servers.

    Args:
        wanted: values by the names of `ServerFilters`, and of `labels` that they must have.
    """
    others = {name: value for name, value in wanted.items() if name != "labels"}
    return narrowed(Label.servers_with(wanted.get("labels", {})), FILTERS, others)


def views(
    servers: Sequence[Server], addresses: Mapping[uuid.UUID, Sequence[Address]] | None = None
) -> list[ServerView]:
    """Servers as the API shows them.

    Args:
        addresses: those of each, when they are known already.
    """
    addresses = Address.of(servers) if addresses is None else addresses
    labels = Label.of(servers)
    live_jobs = Job.live_of(servers)
    places = {id_: _Place.of(node) for id_, node in {row.node_id: row.node for row in servers}.items()}
    templates = {
        id_: _template(found) for id_, found in {row.template_id: row.template for row in servers}.items()
    }
    return [
        _shown(
            server,
            places[server.node_id],
            templates[server.template_id],
            addresses.get(server.id, []),
            labels.get(server.id, {}),
            live_jobs.get(server.id),
        )
        for server in servers
    ]


class _Place(NamedTuple):
    """Where servers are, made once for all that are there."""

    node: NodeSummary
    location: LocationSummary

    @classmethod
    def of(cls, node: Node) -> "_Place":
        location = node.location
        return cls(
            NodeSummary(id=node.id, name=node.name),
            LocationSummary(id=location.id, name=location.name, short_code=location.short_code),
        )


def _shown(
    server: Server,
    place: _Place,
    template: TemplateSummary | None,
    addresses: Sequence[Address],
    labels: dict[str, str],
    job_id: uuid.UUID | None,
) -> ServerView:
    return ServerView(
        id=server.id,
        vmid=server.vmid,
        name=server.name,
        hostname=server.hostname,
        status=ServerStatus(server.status),
        suspended=_suspension(server),
        power=Power(server.power),
        job_id=job_id,
        owner_id=server.owner_id,
        node=place.node,
        location=place.location,
        template=template,
        imported=server.imported,
        cpu=server.cpu,
        memory_bytes=server.memory_bytes,
        disk_bytes=server.disk_bytes,
        addresses=[_address(address) for address in addresses if address.pool.kind != PREFIXES],
        delegated_prefixes=[address.text for address in addresses if address.pool.kind == PREFIXES],
        mac=server.mac,
        ssh_keys=server.ssh_keys,
        description=server.description,
        network=server.network,
        cloud_init=server.cloud_init,
        boot_order=server.boot_order,
        iso=MountedIso.of(server.iso),
        agent=server.agent,
        anti_spoofing=server.anti_spoofing,
        labels=labels,
        tags=server.tags,
        external_id=server.external_id,
        expires_at=server.expires_at,
        protected=server.protected,
        limits=server.limits,
        missing_since=server.missing_since,
        created_at=server.created_at,
        updated_at=server.updated_at,
    )


def _address(address: Address) -> AddressView:
    pool = address.pool
    return AddressView(
        family=pool.family, address=address.address, prefix_length=pool.prefix_length, gateway=pool.gateway
    )


def _template(found: Template | None) -> TemplateSummary | None:
    return None if found is None else TemplateSummary(id=found.id, name=found.name)


def _suspension(server: Server) -> Suspension | None:
    if server.suspended_at is None:
        return None
    return Suspension(at=server.suspended_at, reason=server.suspension_reason or "")
