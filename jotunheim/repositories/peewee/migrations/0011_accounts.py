"""Roles, sessions, second factors and login tickets; networks of tokens."""

from typing import Any

from peewee import BigIntegerField, BooleanField, CharField, ForeignKeyField, JSONField, Model

_BUILT_IN = (("admin", True), ("client", False))


def up(migrator: Any, db: Any) -> None:
    """Create the tables with the roles that there were, and add the columns."""

    class User(Model):
        updated_at = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "user"

    class Role(Model):
        name = CharField(max_length=32, unique=True)
        description = CharField()
        admin = BooleanField()
        permissions = JSONField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "role"

    class Session(Model):
        user = ForeignKeyField(User, on_delete="CASCADE")
        sha256 = CharField(max_length=64, unique=True)
        address = CharField(max_length=64, null=True)
        user_agent = CharField(null=True)
        created_at = BigIntegerField()
        last_used_at = BigIntegerField()
        expires_at = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "session"

    class RecoveryCode(Model):
        user = ForeignKeyField(User, on_delete="CASCADE")
        sha256 = CharField(max_length=64, unique=True)

        class Meta:
            database = db
            table_name = "recovery_code"

    class LoginTicket(Model):
        user = ForeignKeyField(User, on_delete="CASCADE")
        sha256 = CharField(max_length=64, unique=True)
        made_by = CharField()
        expires_at = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "login_ticket"

    db.create_tables([Role, Session, RecoveryCode, LoginTicket])
    for name, admin in _BUILT_IN:
        said = "Everything." if admin else "Their own servers."
        Role.create(name=name, description=said, admin=admin, permissions=["*"], created_at=0, updated_at=0)
    migrator.migrate(
        migrator.add_column("user", "updated_at", BigIntegerField(default=0)),
        migrator.add_column("user", "second_factor_at", BigIntegerField(null=True)),
        migrator.add_column("user", "last_code_step", BigIntegerField(null=True)),
        migrator.add_column("token", "networks", JSONField(null=True)),
        migrator.add_column("token", "last_used_address", CharField(max_length=64, null=True)),
    )
    db.execute_sql('UPDATE "user" SET "updated_at" = "created_at"')
