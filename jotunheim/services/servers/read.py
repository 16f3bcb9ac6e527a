"""Shows servers: lists and single ones, with a fixed number of queries however many they are."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.paging import Page, Paged
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
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Label, Server
from jotunheim.services.servers.requests import find

FILTERS = {
    "name": Server.name,
    "status": Server.status,
    "power": Server.power,
    "suspended": lambda value: Server.suspended_at.is_null(not value),
    "protected": Server.protected,
    "owner_id": Server.owner,
    "node_id": Server.node,
    "location_id": Node.location,
    "template_id": Server.template,
    "vmid": Server.vmid,
    "external_id": Server.external_id,
}
SORTABLE = {
    "created_at": Server.created_at,
    "name": Server.name,
    "status": Server.status,
    "updated_at": Server.updated_at,
    "expires_at": Server.expires_at,
    "cpu": Server.cpu,
    "memory_bytes": Server.memory_bytes,
    "disk_bytes": Server.disk_bytes,
}
OPERATORS_SORTABLE = {"vmid": Server.vmid, "owner_id": Server.owner, "node_id": Server.node}


def list_servers(page: Page, wanted: Mapping[str, Any], *, operator: bool = True) -> Paged[ServerView]:
    """A page of the servers that these filters let through.

    Args:
        operator: whether they can be sorted by what their owners do not see.
    """
    query = Server.with_places(wanted.get("labels", {}))
    others = {name: value for name, value in wanted.items() if name != "labels"}
    rows, total = paginate(
        narrowed(query, FILTERS, others), page, SORTABLE | (OPERATORS_SORTABLE if operator else {})
    )
    return Paged(views(rows), page, total)


def read_server(id_: uuid.UUID, owner_id: int | None = None) -> ServerView:
    """One server; with `owner_id` only one of this user's.

    Raises:
        NotFoundError: there is none.
    """
    return view(find(id_, owner_id))


def view(server: Server) -> ServerView:
    """A server as the API shows it."""
    return views([server])[0]


def views(servers: Sequence[Server]) -> list[ServerView]:
    """Servers as the API shows them."""
    labels = Label.of(servers)
    addresses = Address.of(servers)
    live_jobs = Job.live_of(servers)
    return [
        ServerView(
            id=server.id,
            vmid=server.vmid,
            name=server.name,
            hostname=server.hostname,
            status=ServerStatus(server.status),
            suspended=_suspension(server),
            power=Power(server.power),
            job_id=live_jobs.get(server.id),
            owner_id=server.owner_id,
            node=NodeSummary(id=server.node.id, name=server.node.name),
            location=LocationSummary(
                id=server.node.location.id,
                name=server.node.location.name,
                short_code=server.node.location.short_code,
            ),
            template=_template(server),
            imported=server.imported,
            cpu=server.cpu,
            memory_bytes=server.memory_bytes,
            disk_bytes=server.disk_bytes,
            addresses=[
                AddressView(
                    family=address.pool.family,
                    address=address.address,
                    prefix_length=address.pool.prefix_length,
                    gateway=address.pool.gateway,
                )
                for address in addresses.get(server.id, [])
                if address.pool.kind != PREFIXES
            ],
            delegated_prefixes=[
                address.text for address in addresses.get(server.id, []) if address.pool.kind == PREFIXES
            ],
            mac=server.mac,
            ssh_keys=server.ssh_keys,
            description=server.description,
            network=server.network,
            cloud_init=server.cloud_init,
            boot_order=server.boot_order,
            iso=MountedIso.of(server.iso),
            agent=server.agent,
            anti_spoofing=server.anti_spoofing,
            labels=labels.get(server.id, {}),
            tags=server.tags,
            external_id=server.external_id,
            expires_at=server.expires_at,
            protected=server.protected,
            limits=server.limits,
            missing_since=server.missing_since,
            created_at=server.created_at,
            updated_at=server.updated_at,
        )
        for server in servers
    ]


def _template(server: Server) -> TemplateSummary | None:
    found = server.template
    return None if found is None else TemplateSummary(id=found.id, name=found.name)


def _suspension(server: Server) -> Suspension | None:
    if server.suspended_at is None:
        return None
    return Suspension(at=server.suspended_at, reason=server.suspension_reason or "")
