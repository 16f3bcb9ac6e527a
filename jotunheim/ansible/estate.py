"""All servers from the store, for the inventory plugin: settings, drivers and connection first."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jotunheim import drivers, settings
from jotunheim.exceptions.repository import StoreUnavailableError

if TYPE_CHECKING:
    from jotunheim.ansible.recorded import Recorded


def read(filters: Mapping[str, str]) -> "list[Recorded]":
    """Servers and their variables, from the database that the settings of the environment name.

    Args:
        filters: as of `recorded.read`.

    Raises:
        DataValidationError: a setting or a filter is wrong.
        StoreUnavailableError: the database cannot be used, or has another version's schema.
    """
    loaded = settings.load()
    file = loaded.database.removeprefix("sqlite:///")
    if file != loaded.database and not Path(file).exists():
        raise StoreUnavailableError(
            f"There is no database {file}.",
            hint="Set JOTUNHEIM_CONFIG or JOTUNHEIM_STATE_DIR as the service has it.",
        )
    with drivers.only(drivers.needed(loaded.database)):
        from jotunheim.ansible import recorded
        from jotunheim.repositories.peewee import database
    with database.usable():
        database.connect(loaded)
        try:
            pending = database.pending_migrations()
            if pending:
                raise StoreUnavailableError(
                    f"The database does not have the schema of this version: {', '.join(pending)}.",
                    hint="Run `jotunheim db migrate`, with a backup at hand.",
                )
            return recorded.read(filters, loaded)
        finally:
            database.let_go()  # a connection is not to be used on both sides of a fork
