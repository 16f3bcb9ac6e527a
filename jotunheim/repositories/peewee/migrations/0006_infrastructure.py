"""What operators decide about infrastructure: nodes that take no new servers, addresses that are kept."""

from typing import Any

from peewee import BooleanField, CharField


def up(migrator: Any, db: Any) -> None:
    """Add the columns."""
    del db
    migrator.migrate(
        migrator.add_column("node", "drained", BooleanField(default=False)),
        migrator.add_column("address", "reserved_for", CharField(null=True)),
    )
