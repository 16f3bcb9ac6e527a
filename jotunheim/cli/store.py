"""Settings and database of the service, for commands that are part of it or work without the API."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from jotunheim import drivers
from jotunheim.cli.errors import CommandError

if TYPE_CHECKING:
    from jotunheim.settings import Settings


def drivers_of(settings: "Settings") -> AbstractContextManager[None]:
    """Within it, store and queue are to be imported: with no other drivers than these settings need."""
    return drivers.only(drivers.needed(settings.database, settings.queue))


def connect() -> None:
    """Use the database that the settings of the service name."""
    from jotunheim import settings

    loaded = settings.load()
    with drivers_of(loaded):
        from jotunheim.repositories.peewee import database

    database.connect(loaded)


def require_schema() -> None:
    """Make sure that the database has the schema of this version.

    Raises:
        CommandError: it has not.
    """
    from jotunheim.repositories.peewee import database

    pending = database.pending_migrations()
    if pending:
        raise CommandError(
            f"The database does not have the schema of this version: {', '.join(pending)}.",
            code="migrations_pending",
            hint="`jotunheim db migrate`, with a backup at hand; `jotunheim init` on a new machine.",
        )
