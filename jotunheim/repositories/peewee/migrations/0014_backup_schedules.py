"""Schedules of backups."""

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


def up(migrator: Any, db: Any) -> None:
    """Create the table; backups say of which schedule they are."""

    class Server(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "server"

    class BackupSchedule(Model):
        id = AutoField()
        server = ForeignKeyField(Server, on_delete="CASCADE")
        cron = CharField()
        timezone = CharField()
        jitter_seconds = IntegerField()
        mode = CharField(max_length=16)
        compress = CharField(max_length=16)
        storage = CharField(null=True)
        keep = JSONField()
        enabled = BooleanField()
        next_run_at = BigIntegerField(null=True, index=True)
        last_run_at = BigIntegerField(null=True)
        last_job_id = UUIDField(null=True)
        prune_at = BigIntegerField(null=True, index=True)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "backup_schedule"

    db.create_tables([BackupSchedule])
    migrator.migrate(
        migrator.add_column("backup", "schedule_id", IntegerField(null=True, index=True)),
    )
