"""Shows servers: lists and single ones, with a fixed number of queries however many they are."""

import uuid
from collections.abc import Sequence

from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.data.server.view import AddressView, LocationSummary, NodeSummary, ServerView, TemplateSummary
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.servers import Label, Server


def list_servers(page: Page, labels: dict[str, str]) -> Paged[ServerView]:
    """A page of all servers that have these labels."""
    rows, total = paginate(
        Server.with_places(labels),
        page,
        [Server.created_at, Server.name, Server.vmid, Server.status, Server.updated_at],
    )
    return Paged(views(rows), page, total)


def read_server(id_: uuid.UUID) -> ServerView:
    """One server.

    Raises:
        NotFoundError: there is none.
    """
    server = Server.with_places({}).where(Server.id == id_).first()
    if server is None:
        raise NotFoundError("server", id_)
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
            suspended=None,
            power=Power(server.power),
            job_id=live_jobs.get(server.id),
            owner_id=server.owner_id,
            node=NodeSummary(id=server.node.id, name=server.node.name),
            location=LocationSummary(
                id=server.node.location.id,
                name=server.node.location.name,
                short_code=server.node.location.short_code,
            ),
            template=TemplateSummary(id=server.template.id, name=server.template.name),
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
            ],
            labels=labels.get(server.id, {}),
            tags=server.tags,
            external_id=server.external_id,
            expires_at=None,
            protected=server.protected,
            limits=server.limits,
            created_at=server.created_at,
            updated_at=server.updated_at,
        )
        for server in servers
    ]
