"""What previews showed, so that just that can be applied."""

from typing import Any

from peewee import BooleanField, ForeignKeyField, IntegerField, JSONField, Model, UUIDField


def up(migrator: Any, db: Any) -> None:  # noqa: ARG001 - what playhouse.migrations calls
    """Create the table."""

    class Job(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "job"

    class Plan(Model):
        preview = ForeignKeyField(Job, primary_key=True, on_delete="CASCADE")
        request = JSONField()
        record = JSONField(null=True)
        watched = JSONField()
        seen = JSONField(null=True)
        seen_fence = IntegerField(null=True)
        applied_by = ForeignKeyField(Job, null=True, unique=True, on_delete="CASCADE")
        begun = BooleanField()

        class Meta:
            database = db
            table_name = "plan"

    db.create_tables([Plan])
