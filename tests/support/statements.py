"""What is sent to the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jotunheim.repositories.peewee.database import database

Statement = tuple[str, Any]


@contextmanager
def statements() -> Iterator[list[Statement]]:
    """The SQL statements of the block with their parameters, as they come."""
    seen: list[Statement] = []
    execute = database.obj.execute_sql

    def noting(sql: str, params: Any = None) -> Any:
        seen.append((sql, params))
        return execute(sql, params)

    database.obj.execute_sql = noting
    try:
        yield seen
    finally:
        del database.obj.execute_sql
