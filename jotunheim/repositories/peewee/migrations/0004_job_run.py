"""What each run was started with, the Proxmox tasks of each step, and jobs by the request that asked for them."""

from typing import Any

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    TextField,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Add the table, the column and the index."""

    class Job(Model):
        id = UUIDField(primary_key=True)

        class Meta:
            database = db
            table_name = "job"

    class JobRun(Model):
        id = AutoField()
        job = ForeignKeyField(Job, on_delete="CASCADE")
        attempt = IntegerField()
        playbook = CharField()
        inventory = TextField()
        check_only = BooleanField()
        content_sha256 = CharField(max_length=64)
        versions = JSONField()
        started_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "job_run"

    db.create_tables([JobRun])
    upids = JSONField(constraints=[SQL("DEFAULT '[]'")])
    migrator.migrate(
        migrator.add_column("job_step", "upids", upids, allow_not_null=True),
        migrator.add_index("job", ("request_id",)),
    )
