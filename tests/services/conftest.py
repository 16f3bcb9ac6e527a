"""Stores of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jotunheim.repositories.peewee import database
from jotunheim.settings import Settings
from tests.support import databases


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Settings]:
    """An empty, migrated SQLite database."""
    yield from _migrated(Settings(state_dir=tmp_path))


@pytest.fixture(params=["sqlite", "postgresql"])
def either_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """An empty, migrated database of each kind."""
    if request.param == "sqlite":
        yield from _migrated(Settings(state_dir=tmp_path))
        return
    with databases.postgresql() as server:
        yield from _migrated(Settings(state_dir=tmp_path, database_url=server.url))


def _migrated(settings: Settings) -> Iterator[Settings]:
    database.connect(settings)
    database.migrate()
    yield settings
    database.end()
    database.database.close()
