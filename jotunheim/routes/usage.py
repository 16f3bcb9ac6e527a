"""What operators and owners alike can ask about a server's traffic."""

from pydantic import AwareDatetime

from jotunheim.data.server.traffic import ServerUsage
from jotunheim.repositories.peewee.traffic import HOUR
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.requests import Module
from jotunheim.services.traffic import read

PATH = "/servers/{id:uuid}/usage"


class TrafficQuery(NoQuery):
    """Which part of a server's history is wanted."""

    resolution_seconds: int = HOUR
    """3600, kept for 31 days, or 86400, kept for 400 days."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


def add_usage(module: Module) -> None:
    """Register the requests with a module's operations."""

    @module.operations.get(PATH, scope="servers:read", answer=ServerUsage, query=TrafficQuery)
    def read_traffic(call: Call[None, TrafficQuery]) -> Reply:
        """Show what a server has moved in this month, what follows from it, and what it moved before."""
        server, query = module.find(call), call.query
        found = read.history(server, query.resolution_seconds, query.since, query.until)
        return Reply(
            ServerUsage(
                usage=read.usage(server, call.context.settings),
                resolution_seconds=query.resolution_seconds,
                history=found,
            )
        )
