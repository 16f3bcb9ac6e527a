"""Firewalls of servers: anti-spoofing, rules, and the rulesets that servers apply.

Of servers that are there nothing is claimed: neither that they are protected, nor what rules they have.
"""

from typing import Any

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    TextField,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns and create the tables."""

    class Server(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "server"

    class Ruleset(Model):
        id = AutoField()
        name = CharField(unique=True)
        description = TextField()
        rules = JSONField()
        rules_version = IntegerField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "firewall_ruleset"

    class ServerRuleset(Model):
        server = ForeignKeyField(Server, on_delete="CASCADE")
        ruleset = ForeignKeyField(Ruleset, on_delete="RESTRICT")
        position = IntegerField()
        applied_version = IntegerField(null=True)

        class Meta:
            database = db
            table_name = "server_firewall_ruleset"
            primary_key = CompositeKey("server", "ruleset")

    migrator.migrate(
        migrator.add_column("server", "anti_spoofing", BooleanField(default=False)),
        migrator.add_column("server", "firewall", JSONField(null=True)),
    )
    db.create_tables([Ruleset, ServerRuleset])
