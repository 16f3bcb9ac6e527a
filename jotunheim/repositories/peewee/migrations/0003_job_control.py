"""What controls jobs: that one is to be cancelled, and when one that failed is tried again."""

from typing import Any

from peewee import BigIntegerField, CharField


def up(migrator: Any, db: Any) -> None:
    """Add the columns, and what finds whose turn it was last."""
    del db
    migrator.migrate(
        migrator.add_column("job", "cancel_requested", CharField(max_length=16, null=True)),
        migrator.add_column("job", "not_before", BigIntegerField(null=True)),
        migrator.add_index("job", ("started_at",)),
    )
