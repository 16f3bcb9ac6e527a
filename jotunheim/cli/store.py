"""The database of the service, for commands that work on it without the API."""

from jotunheim.cli.errors import CommandError


def connect() -> None:
    """Use the database that the settings of the service name."""
    from jotunheim import settings
    from jotunheim.repositories.peewee import database

    database.connect(settings.load())


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
