"""What a server's life needs: settings that can change, suspension, expiry, and what a job was asked for.

Columns that must not be null carry their default in the statement: rebuilding a table, as SQLite would otherwise
need, deletes the rows that refer to it.
"""

from typing import Any

from peewee import (
    SQL,
    BigIntegerField,
    BooleanField,
    CharField,
    IntegerField,
    JSONField,
    TextField,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns, and let a scheduled job leave its server unlocked."""
    filled: dict[str, dict[str, Any]] = {
        "server": {
            "description": TextField(constraints=[SQL("DEFAULT ''")]),
            "network": JSONField(constraints=[SQL("DEFAULT '{}'")]),
            "cloud_init": JSONField(constraints=[SQL("DEFAULT '{}'")]),
            "agent": BooleanField(constraints=[SQL("DEFAULT true")]),
        },
        "job": {"parameters": JSONField(constraints=[SQL("DEFAULT '{}'")])},
    }
    empty: dict[str, dict[str, Any]] = {
        "server": {
            "boot_order": JSONField(null=True),
            "expires_at": BigIntegerField(null=True),
            "suspended_at": BigIntegerField(null=True),
            "suspension_reason": CharField(null=True),
            "suspended_from": JSONField(null=True),
            "scratch_vmid": IntegerField(null=True),
        },
        "job": {
            "result": JSONField(null=True),
            "run_after": BigIntegerField(null=True),
            "server_uuid": UUIDField(null=True),
            "owner_id": IntegerField(null=True),
        },
    }
    for table, columns in filled.items():
        for name, field in columns.items():
            migrator.migrate(migrator.add_column(table, name, field, allow_not_null=True))
    for table, columns in empty.items():
        for name, field in columns.items():
            migrator.migrate(migrator.add_column(table, name, field))
    migrator.migrate(
        migrator.add_index("server", ("expires_at",)),
        migrator.add_index("server", ("scratch_vmid",), unique=True),
        migrator.add_index("job", ("server_uuid",)),
        migrator.add_index("job", ("owner_id",)),
    )
    db.execute_sql("UPDATE job SET server_uuid = server_id")
    db.execute_sql(
        "UPDATE job SET owner_id = (SELECT owner_id FROM server WHERE server.id = job.server_id)"
        " WHERE server_id IS NOT NULL"
    )
    db.execute_sql("DROP INDEX job_one_live_per_server")
    db.execute_sql(
        "CREATE UNIQUE INDEX job_one_live_per_server ON job (server_id)"
        " WHERE status IN ('queued', 'running') AND run_after IS NULL"
    )
