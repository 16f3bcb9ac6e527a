"""Rulesets of firewall rules, and which servers apply them."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from peewee import (
    AutoField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
    fn,
)

from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, among, now, unused
from jotunheim.repositories.peewee.servers import Server


class Ruleset(Versioned, Table):
    """A named list of rules that servers can apply."""

    id = AutoField()
    name = CharField(unique=True)
    description = TextField(default="")
    rules = JSONField(default=list)
    """A list of `FirewallRule`."""
    rules_version = IntegerField(default=1)
    """Grows when the rules change."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        table_name = "firewall_ruleset"

    def replace_rules(self, rules: list[dict[str, Any]]) -> None:
        """Set all rules; servers that apply the ruleset are outdated, if they are others."""
        if rules != self.rules:
            self.change(rules=rules, rules_version=self.rules_version + 1)

    def remove(self) -> None:
        """Delete the ruleset. Raises InUseError when a server applies it."""
        with unused(f"A server applies the ruleset {self.name}."):
            self.delete_instance()

    @classmethod
    def by_ids(cls, ids: Sequence[int]) -> "list[Ruleset]":
        """The rulesets with these ids, in their order; those that do not exist are left out."""
        found = {ruleset.id: ruleset for ruleset in cls.select().where(cls.id.in_(list(ids)))}
        return [found[id_] for id_ in ids if id_ in found]


class Use(NamedTuple):
    """How many servers apply a ruleset, and how many of them do not have its present rules."""

    servers: int
    outdated: int


class ServerRuleset(Table):
    """That a server applies a ruleset."""

    server = ForeignKeyField(Server, backref="rulesets", on_delete="CASCADE")
    server_id: uuid.UUID
    ruleset = ForeignKeyField(Ruleset, backref="servers", on_delete="RESTRICT")
    ruleset_id: int
    position = IntegerField()
    """Its place among the server's rulesets."""
    applied_version = IntegerField(null=True)
    """The ruleset's `rules_version` that the server's VM was last brought to; None: none yet."""

    class Meta:
        table_name = "server_firewall_ruleset"
        primary_key = CompositeKey("server", "ruleset")

    @classmethod
    def ids_of(cls, server: Server) -> list[int]:
        """Ids of the rulesets that a server applies, in their order."""
        query = cls.select(cls.ruleset).where(cls.server == server).order_by(cls.position)
        return [row.ruleset_id for row in query]

    @classmethod
    def rules_of(cls, servers: Iterable[Server]) -> dict[uuid.UUID, list[dict[str, Any]]]:
        """The rules of the rulesets that servers apply, in their order, by server id."""
        found: dict[uuid.UUID, list[dict[str, Any]]] = {}
        query = (
            cls.select(cls, Ruleset)
            .join(Ruleset)
            .where(among(cls.server, (server.id for server in servers)))
            .order_by(cls.position)
        )
        for row in query:
            found.setdefault(row.server_id, []).extend(row.ruleset.rules)
        return found

    @classmethod
    def outdated_ids_of(cls, server: Server) -> list[int]:
        """Those of them whose present rules the server does not have."""
        query = (
            cls.select(cls.ruleset)
            .join(Ruleset)
            .where((cls.server == server) & cls.is_outdated())
            .order_by(cls.position)
        )
        return [row.ruleset_id for row in query]

    @classmethod
    def replace_all(cls, server: Server, ids: Sequence[int]) -> None:
        """Let a server apply these rulesets in this order; what is known of those that stay is kept."""
        applied = {row.ruleset_id: row.applied_version for row in cls.select().where(cls.server == server)}
        cls.delete().where(cls.server == server).execute()
        if ids:
            cls.insert_many(
                [
                    {"server": server, "ruleset": id_, "position": at, "applied_version": applied.get(id_)}
                    for at, id_ in enumerate(ids)
                ]
            ).execute()

    @classmethod
    def record_applied(cls, server: Server, versions: Mapping[int, int]) -> None:
        """Note which version of each ruleset a server's VM was brought to."""
        for id_, version in versions.items():
            cls.update(applied_version=version).where((cls.server == server) & (cls.ruleset == id_)).execute()

    @classmethod
    def uses(cls, rulesets: Iterable[Ruleset]) -> dict[int, Use]:
        """By the id of each ruleset that servers apply how many do, in one query."""
        query: Any = (
            cls.select(
                cls.ruleset,
                fn.COUNT(cls.server),
                fn.SUM(cls.is_outdated().cast("integer")),
            )
            .join(Ruleset)
            .where(cls.ruleset.in_([ruleset.id for ruleset in rulesets]))
            .group_by(cls.ruleset)
            .tuples()
        )
        return {ruleset: Use(servers, int(outdated)) for ruleset, servers, outdated in query}

    @classmethod
    def names_of_users(cls, ruleset: Ruleset, limit: int) -> tuple[list[str], int]:
        """Names of some servers that apply a ruleset, and how many there are."""
        return Server.names_where(Server.id.in_(cls.servers_of(ruleset)), limit)

    @classmethod
    def servers_of(cls, ruleset: Ruleset) -> Any:
        """A select of the ids of the servers that apply a ruleset."""
        return cls.select(cls.server).where(cls.ruleset == ruleset)

    @classmethod
    def with_servers(cls, ruleset: Ruleset) -> Any:
        """A select of a ruleset's uses with their servers joined."""
        query = cls.select(cls, Server, Ruleset).join(Server).switch(cls).join(Ruleset)
        return query.where(cls.ruleset == ruleset)

    @classmethod
    def is_outdated(cls) -> Any:
        """The condition of uses whose server does not have the ruleset's present rules; rulesets must be joined."""
        return fn.COALESCE(cls.applied_version, 0) < Ruleset.rules_version
