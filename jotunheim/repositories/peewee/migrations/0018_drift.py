"""What differs between servers and their VMs, and when sweeps have looked."""

from typing import Any

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:  # noqa: ARG001 - what every migration takes
    """Create the tables."""

    class Server(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "server"

    class Node(Model):
        id = AutoField()

        class Meta:
            database = db
            table_name = "node"

    class Drift(Model):
        server = ForeignKeyField(Server, primary_key=True, on_delete="CASCADE")
        status = CharField(max_length=16, index=True)
        checked_at = BigIntegerField()
        found_at = BigIntegerField(null=True)
        differences = JSONField()
        diff = JSONField()
        acceptable = JSONField()
        identified = BooleanField()
        digest = CharField(null=True)
        error = JSONField(null=True)
        failures = IntegerField()
        again_at = BigIntegerField(null=True)
        reasserted_at = BigIntegerField(null=True)
        reassertions = IntegerField()

        class Meta:
            database = db
            table_name = "drift"

    class DriftSweep(Model):
        node = ForeignKeyField(Node, primary_key=True, on_delete="CASCADE")
        asked_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "drift_sweep"

    db.create_tables([Drift, DriftSweep])
