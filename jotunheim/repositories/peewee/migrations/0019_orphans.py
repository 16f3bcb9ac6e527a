"""What is found on nodes with our mark and without a record."""

from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Create the table."""
    del migrator

    class Node(Model):
        class Meta:
            database = db
            table_name = "node"

    class Orphan(Model):
        id = UUIDField(primary_key=True)
        node = ForeignKeyField(Node, on_delete="CASCADE")
        key = CharField()
        kind = CharField(max_length=16)
        vmid = IntegerField()
        name = CharField()
        mark = UUIDField(null=True)
        storage = CharField(null=True)
        volume = CharField(null=True)
        size_bytes = BigIntegerField(null=True)
        protected = BooleanField()
        cautions = JSONField()
        found_at = BigIntegerField()
        seen_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "orphan"
            indexes = ((("node", "key"), True),)

    db.create_tables([Orphan])
