"""SSH keys that users keep; the ISO image in a server's drive; servers that were imported."""

from typing import Any

from peewee import BigIntegerField, BooleanField, CharField, ForeignKeyField, Model, TextField


def up(migrator: Any, db: Any) -> None:
    """Create the table, add the columns, and let a server have no template."""

    class User(Model):
        class Meta:
            database = db
            table_name = "user"

    class SshKey(Model):
        user = ForeignKeyField(User, on_delete="CASCADE", index=False)
        name = CharField()
        public_key = TextField()
        fingerprint = CharField(max_length=64)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "ssh_key"
            indexes = ((("user", "name"), True), (("user", "fingerprint"), True))

    db.create_tables([SshKey])
    migrator.migrate(
        migrator.add_column("server", "iso", CharField(null=True)),
        migrator.add_column("server", "imported", BooleanField(default=False)),
        migrator.drop_not_null("server", "template_id"),
    )
