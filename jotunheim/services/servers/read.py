"""Shows servers: lists and single ones, with a fixed number of queries however many they are."""

import uuid
from collections.abc import Mapping
from typing import Any

from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.view import ServerView
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.server_views import select, views
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.requests import find

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
    rows, total = paginate(select(wanted), page, SORTABLE | (OPERATORS_SORTABLE if operator else {}))
    Server.place(rows)
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
