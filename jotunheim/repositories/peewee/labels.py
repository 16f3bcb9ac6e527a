"""Labels of servers: what callers find them again by."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from peewee import CharField, CompositeKey, ForeignKeyField

from jotunheim.repositories.peewee.database import Table, among
from jotunheim.repositories.peewee.servers import Server


class Label(Table):
    """One label of a server."""

    server = ForeignKeyField(Server, backref="labels", on_delete="CASCADE")
    server_id: uuid.UUID
    key = CharField(max_length=63)
    value = CharField(max_length=255)

    class Meta:
        table_name = "server_label"
        primary_key = CompositeKey("server", "key")
        indexes = ((("key", "value"), False),)

    @classmethod
    def replace_all(cls, server: Server, labels: Mapping[str, str]) -> None:
        """Give a server these labels in place of those that it has."""
        cls.delete().where(cls.server == server).execute()
        cls.attach(server, labels)

    @classmethod
    def attach(cls, server: Server, labels: Mapping[str, str]) -> None:
        """Give labels to a new server."""
        if labels:
            cls.insert_many(
                [{"server": server, "key": key, "value": value} for key, value in labels.items()]
            ).execute()

    @classmethod
    def servers_with(cls, labels: Mapping[str, str]) -> Any:
        """A select of servers that have all these labels."""
        query = Server.select()
        for key, value in labels.items():
            having = cls.select(cls.server).where((cls.key == key) & (cls.value == value))
            query = query.where(Server.id.in_(having))
        return query

    @classmethod
    def of(cls, servers: Iterable[Server]) -> dict[uuid.UUID, dict[str, str]]:
        """Labels by server id."""
        found: dict[uuid.UUID, dict[str, str]] = {}
        wanted = among(cls.server, (server.id for server in servers))
        query: Any = cls.select(cls.server, cls.key, cls.value).where(wanted).order_by(cls.key).tuples()
        for server_id, key, value in query:
            found.setdefault(server_id, {})[key] = value
        return found
