"""Backups of servers. Those that were made before by others are none of ours."""

from typing import Any

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Create the table."""
    del migrator

    class User(Model):
        id = AutoField()

        class Meta:
            database = db
            table_name = "user"

    class Node(Model):
        id = AutoField()

        class Meta:
            database = db
            table_name = "node"

    class Server(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "server"

    class Backup(Model):
        id = UUIDField(primary_key=True)
        server = ForeignKeyField(Server, null=True, on_delete="SET NULL")
        server_uuid = UUIDField(index=True)
        server_name = CharField()
        owner = ForeignKeyField(User, on_delete="RESTRICT")
        node = ForeignKeyField(Node, on_delete="RESTRICT")
        vmid = IntegerField()
        storage = CharField()
        volume = CharField(null=True)
        status = CharField(max_length=16)
        mode = CharField(max_length=16)
        compress = CharField(max_length=16)
        notes = TextField()
        locked = BooleanField()
        size_bytes = BigIntegerField(null=True)
        taken_at = BigIntegerField(null=True)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "backup"

    db.create_tables([Backup])
