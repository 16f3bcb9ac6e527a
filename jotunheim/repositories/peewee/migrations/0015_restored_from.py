"""Servers that are made from a backup."""

from typing import Any

from peewee import UUIDField


def up(migrator: Any, db: Any) -> None:
    """Servers say from which one they are being made."""
    del db
    migrator.migrate(migrator.add_column("server", "restored_from", UUIDField(null=True, index=True)))
