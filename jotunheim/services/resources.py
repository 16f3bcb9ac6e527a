"""What services of rows share that callers read and change: finding one, its version, and who uses it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, PreconditionFailedError
from jotunheim.repositories.peewee.database import Versioned, locking

SHOWN = 5
Row = TypeVar("Row", bound=Versioned)


def find(table: type[Row], what: str, id_: int, if_match: str | None = None) -> Row:
    """A row; within a transaction nobody else changes it until that ends.

    Args:
        what: what to call it.
        if_match: the version that the caller knows.

    Raises:
        NotFoundError: there is none.
        PreconditionFailedError: it has another version.
    """
    model: Any = table
    row: Row | None = locking(model.select().where(model.id == id_), model).first()
    if row is None:
        raise NotFoundError(what, id_)
    assert_version(what, row, if_match)
    return row


def assert_version(what: str, row: Versioned, if_match: str | None) -> None:
    """Raise PreconditionFailedError when the caller knows another version of a row."""
    if if_match is not None and if_match not in ("*", f'"{row.version}"'):
        raise PreconditionFailedError(f"The {what} was changed since it was read. Read it again.")


def assert_no_version(what: str, if_match: str | None) -> None:
    """Make sure that nobody insists on a version of what has none. Raises PreconditionFailedError: the caller does."""
    if if_match not in (None, "*"):
        raise PreconditionFailedError(f"The {what} has no versions, so it cannot have this one.")


def assert_unused(what: str, users: Mapping[str, tuple[Sequence[str], int]]) -> None:
    """Make sure that nothing needs what is to be deleted.

    Args:
        what: what to call it.
        users: names of some that need it, and how many there are, by their kind in the plural.

    Raises:
        ConflictError: something does; the details name it.
    """
    details = [FieldProblem(kind, _named(names, count)) for kind, (names, count) in users.items() if count]
    if details:
        said = "; ".join(f"{problem.field}: {problem.message}" for problem in details)
        raise ConflictError(
            f"The {what} is in use. {said}.", details=details, hint="Delete or move those first."
        )


def _named(names: Sequence[str], count: int) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if count <= SHOWN else f"{shown} and {count - SHOWN} more"
