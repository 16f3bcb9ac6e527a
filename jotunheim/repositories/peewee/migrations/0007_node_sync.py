"""What nodes tell about themselves, template groups, how nodes are chosen, and where disks are."""

from typing import Any

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    FloatField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
)


def up(migrator: Any, db: Any) -> None:
    """Make the tables, then the columns."""

    class Node(Model):
        class Meta:
            database = db
            table_name = "node"

    class TemplateGroup(Model):
        id = AutoField()
        name = CharField(unique=True)
        os_family = CharField(max_length=16)
        default_user = CharField(null=True)
        minimum_disk_bytes = BigIntegerField(null=True)
        minimum_memory_bytes = BigIntegerField(null=True)
        hidden = BooleanField()
        position = IntegerField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "template_group"

    class NodeState(Model):
        node = ForeignKeyField(Node, primary_key=True, on_delete="CASCADE")
        status = CharField(max_length=16)
        status_since = BigIntegerField()
        asked_at = BigIntegerField(null=True)
        synced_at = BigIntegerField(null=True)
        failures = IntegerField()
        error = JSONField(null=True)
        version = CharField(null=True)
        cpu_count = IntegerField(null=True)
        memory_bytes = BigIntegerField(null=True)
        foreign_memory_bytes = BigIntegerField()
        peers = JSONField()
        bridges = JSONField()
        lacking = JSONField()

        class Meta:
            database = db
            table_name = "node_state"

    class NodeStorage(Model):
        node = ForeignKeyField(Node, on_delete="CASCADE")
        name = CharField()
        type = CharField()
        content = JSONField()
        shared = BooleanField()
        active = BooleanField()
        total_bytes = BigIntegerField(null=True)
        used_bytes = BigIntegerField(null=True)
        foreign_bytes = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "node_storage"
            primary_key = CompositeKey("node", "name")

    class NodeUsage(Model):
        node = ForeignKeyField(Node, on_delete="CASCADE")
        resolution_seconds = IntegerField()
        at = BigIntegerField()
        samples = IntegerField()
        cpu = FloatField()
        memory_used_bytes = FloatField()
        memory_bytes = BigIntegerField()
        storage_used_bytes = FloatField(null=True)
        storage_bytes = BigIntegerField(null=True)
        running = FloatField()

        class Meta:
            database = db
            table_name = "node_usage"
            primary_key = CompositeKey("node", "resolution_seconds", "at")

    db.create_tables([TemplateGroup, NodeState, NodeStorage, NodeUsage])
    columns: dict[str, dict[str, Any]] = {
        "location": {"placement_policy": CharField(max_length=16, null=True)},
        "node": {"labels": JSONField(constraints=[SQL("DEFAULT '{}'")])},
        "template": {
            "group_id": ForeignKeyField(
                TemplateGroup, field=TemplateGroup.id, null=True, on_delete="RESTRICT"
            ),
            "minimum_memory_bytes": BigIntegerField(null=True),
            "hidden": BooleanField(constraints=[SQL("DEFAULT false")]),
            "position": IntegerField(constraints=[SQL("DEFAULT 0")]),
            "missing_since": BigIntegerField(null=True),
        },
        "server": {
            "storage": CharField(null=True),
            "missing_since": BigIntegerField(null=True),
        },
    }
    for table, added in columns.items():
        for name, field in added.items():
            migrator.migrate(migrator.add_column(table, name, field, allow_not_null=True))
    migrator.migrate(migrator.add_index("template", ("group_id", "node_id"), unique=True))
    db.execute_sql("UPDATE server SET storage = (SELECT vm_storage FROM node WHERE node.id = server.node_id)")
