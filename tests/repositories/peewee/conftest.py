"""A store of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jotunheim.repositories.peewee import database
from jotunheim.settings import Settings


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Settings]:
    """An empty, migrated SQLite database."""
    settings = Settings(state_dir=tmp_path)
    database.connect(settings)
    database.migrate()
    yield settings
    database.database.close()
