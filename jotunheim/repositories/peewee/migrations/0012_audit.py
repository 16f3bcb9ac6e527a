"""The audit log: its entries, where they begin after the oldest were deleted, and triggers that keep them as they are.

Documents are text and no JSON columns: their hash is over what was written, to the byte.
"""

from typing import Any

from peewee import BigIntegerField, CharField, IntegerField, Model, SqliteDatabase, TextField

_KEPT = "entries of the audit log are neither changed nor deleted"
_SQLITE = (
    f"CREATE TRIGGER audit_entry_unchanged BEFORE UPDATE ON audit_entry BEGIN SELECT RAISE(ABORT, '{_KEPT}'); END",
    "CREATE TRIGGER audit_entry_kept BEFORE DELETE ON audit_entry"  # noqa: S608 - a constant
    " WHEN OLD.id > (SELECT COALESCE(MAX(last_id), 0) FROM audit_anchor)"
    f" BEGIN SELECT RAISE(ABORT, '{_KEPT}'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION audit_entry_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"  # noqa: S608 - constants
    " IF TG_OP = 'DELETE' THEN"
    "  IF OLD.id <= (SELECT COALESCE(MAX(last_id), 0) FROM audit_anchor) THEN RETURN OLD; END IF;"
    " END IF;"
    f" RAISE EXCEPTION '{_KEPT}';"
    " END $$",
    "CREATE TRIGGER audit_entry_kept BEFORE UPDATE OR DELETE ON audit_entry"
    " FOR EACH ROW EXECUTE FUNCTION audit_entry_kept()",
    "CREATE TRIGGER audit_entry_not_emptied BEFORE TRUNCATE ON audit_entry"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_kept()",
)


def up(migrator: Any, db: Any) -> None:  # noqa: ARG001 - what playhouse.migrations calls
    """Create the tables and their triggers."""

    class AuditEntry(Model):
        id = BigIntegerField(primary_key=True)
        at = BigIntegerField(index=True)
        source = CharField(max_length=8)
        actor_id = IntegerField(null=True)
        actor_email = CharField(null=True, index=True)
        token_id = IntegerField(null=True)
        session_id = IntegerField(null=True)
        address = CharField(max_length=64, null=True)
        request_id = CharField(max_length=128, null=True, index=True)
        action = CharField(max_length=64)
        resource_type = CharField(max_length=32, null=True)
        resource_id = CharField(null=True)
        outcome = CharField(max_length=32)
        status = IntegerField(null=True)
        message = TextField(null=True)
        times = IntegerField()
        request = TextField(null=True)
        before = TextField(null=True)
        after = TextField(null=True)
        previous_hash = CharField(max_length=64)
        hash = CharField(max_length=64)

        class Meta:
            database = db
            table_name = "audit_entry"
            indexes = ((("resource_type", "resource_id"), False),)

    class AuditAnchor(Model):
        id = IntegerField(primary_key=True)
        last_id = BigIntegerField()
        hash = CharField(max_length=64)

        class Meta:
            database = db
            table_name = "audit_anchor"

    db.create_tables([AuditEntry, AuditAnchor])
    for statement in _SQLITE if isinstance(db, SqliteDatabase) else _POSTGRESQL:
        db.execute_sql(statement)
