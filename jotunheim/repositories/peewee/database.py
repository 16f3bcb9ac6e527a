"""The connection to the store, the base of all tables, and the schema's version.

SQLite runs in WAL mode with `synchronous=FULL`: an answer 202 is a promise that survives a power cut.
Each thread keeps its connection; write transactions start as `BEGIN IMMEDIATE`, so that two writers queue
up instead of failing half-way.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from peewee import (
    SQL,
    BigIntegerField,
    Database,
    DatabaseError,
    DatabaseProxy,
    ImproperlyConfigured,
    IntegrityError,
    InterfaceError,
    Model,
    OperationalError,
    SqliteDatabase,
)
from playhouse import db_url
from playhouse.migrations import Runner

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import InUseError, StoreUnavailableError, UniquenessError
from jotunheim.repositories.peewee.postgresql import LastingPostgresql, is_passing
from jotunheim.settings import Settings

BUSY_TIMEOUT_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LOST = (OperationalError, InterfaceError)
"""What is raised when the database is away, or gave something up."""
_TRIES = 4
_ROWS_A_STATEMENT = 250

Result = TypeVar("Result")
database: Any = DatabaseProxy()
log = logging.getLogger(__name__)


class UtcField(BigIntegerField):
    """An aware UTC datetime, stored as microseconds since 1970: exact, sortable, the same in every database."""

    def db_value(self, value: datetime | None) -> int | None:
        return value if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def python_value(self, value: int | None) -> datetime | None:
        return value if value is None else EPOCH + timedelta(microseconds=value)


class Table(Model):
    """Base of all tables."""

    class Meta:
        database = database
        legacy_table_names = False


class Versioned:
    """What tables have besides whose rows callers read and change; they have a column `updated_at`."""

    id: Any
    updated_at: datetime

    @property
    def version(self) -> str:
        """What changes with every change of the row, for `ETag` and `If-Match`."""
        return f"{self.updated_at.timestamp():.6f}".replace(".", "")

    def change(self, **columns: object) -> None:
        """Set columns in the row and in this object."""
        at = now()
        table: Any = type(self)
        table.update(updated_at=at, **columns).where(table.id == self.id).execute()
        for name, value in columns.items():
            setattr(self, name, value)
        self.updated_at = at


def now() -> datetime:
    """The current time, as the store keeps it."""
    return datetime.now(UTC)


def transaction() -> AbstractContextManager[Any]:
    """A transaction on this thread's connection; it commits at the end, an exception rolls it back."""
    return cast("AbstractContextManager[Any]", database.atomic())


def snapshot() -> AbstractContextManager[Any]:
    """A part in which all reads see one moment. It only reads, and keeps nobody from writing."""
    if isinstance(database.obj, LastingPostgresql):
        return cast("AbstractContextManager[Any]", database.atomic(isolation_level="REPEATABLE READ"))
    return cast("AbstractContextManager[Any]", database.atomic("DEFERRED"))


def transact(work: Callable[[], Result]) -> Result:
    """Do something in a transaction of its own, and do it again when the database undid it for no fault of its own.

    Args:
        work: changes nothing but the store.
    """
    for left in reversed(range(_TRIES)):
        is_done = False
        try:
            with transaction():
                result = work()
                is_done = True  # what fails now is the commit, which may have come about nevertheless
                return result
        except LOST as error:
            if is_done or not left or not _is_passing(error):
                raise
            log.warning("A transaction is done again: %s", error)
    raise AssertionError


def _is_passing(error: OperationalError | InterfaceError) -> bool:
    return isinstance(database.obj, LastingPostgresql) and is_passing(error, database.obj)


@contextmanager
def previewed(check: bool) -> Iterator[None]:
    """A transaction, or part of one, that is undone at its end when it was only to show what would be."""
    with transaction() as undoable:
        yield
        if check:
            undoable.rollback()


@contextmanager
def unique(message: str, **columns: str) -> Iterator[None]:
    """A transaction in which a broken unique index becomes a UniquenessError.

    Args:
        message: what to say when the broken index is none of `columns`.
        columns: for a column of an index, what to say when that one broke.
    """
    try:
        with transaction():
            yield
    except IntegrityError as error:
        text = str(error)
        if "foreign key" in text.lower():
            raise InUseError("What this refers to has just been deleted. Read it again.") from None
        for column, says in columns.items():
            if column in text:
                raise UniquenessError(says) from None
        raise UniquenessError(message) from None


@contextmanager
def unused(message: str) -> Iterator[None]:
    """A transaction in which deleting a row that others refer to becomes an InUseError with this message."""
    try:
        with transaction():
            yield
    except IntegrityError:
        raise InUseError(message) from None


def serialize(purpose: str) -> None:
    """Let no other transaction with the same purpose go on until this one ends.

    SQLite has one writer at a time anyway; PostgreSQL gets an advisory lock. A transaction that needs several takes them in
    this order, else two could wait for each other: `placement`, `vmid`, `addresses`, `mac`; and `audit` after all other
    locks, on rows too, since whatever is recorded takes it: it is held only until the commit.
    """
    if not isinstance(database.obj, SqliteDatabase):
        database.execute_sql("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"jotunheim {purpose}",))


def locking(query: Any, *tables: type[Table], referable: bool = False) -> Any:
    """A select that keeps the rows of these tables from being changed by others until the transaction ends.

    SQLite's writing transactions do so anyway. Outside of a transaction nothing is kept.

    Args:
        referable: others may meanwhile add rows that refer to these.
    """
    if isinstance(database.obj, SqliteDatabase) or not database.in_transaction():
        return query
    return query.for_update("FOR NO KEY UPDATE" if referable else "FOR UPDATE", of=tables)


def undeletable(query: Any, table: type[Table]) -> Any:
    """A select that keeps rows from being deleted until the transaction ends, so that others can refer to them.

    SQLite's writing transactions do so anyway.
    """
    if isinstance(database.obj, SqliteDatabase) or not database.in_transaction():
        return query
    return query.for_update("FOR KEY SHARE", of=(table,))


def insert_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Insert tens of thousands of rows that break no constraint.

    Not with `insert_many`: composing statements for that many rows takes longer than their insertion. Not with `executemany`
    either: a statement a row takes twice as long.
    """
    names = ", ".join(columns)
    if isinstance(database.obj, LastingPostgresql):
        with database.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    places = f"({', '.join([database.obj.param] * len(columns))})"
    cursor, remaining = database.cursor(), iter(rows)
    while batch := list(islice(remaining, _ROWS_A_STATEMENT)):
        values = [value for row in batch for value in row]
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES {', '.join([places] * len(batch))}", values)  # noqa: S608 - names of ours


def among(field: Any, values: Iterable[object]) -> Any:
    """The condition that a column has one of these values; Peewee composes one for each value, which takes longer than the query."""
    given = [field.db_value(value) for value in values]
    if not given:
        return field.in_([])
    return field.in_(SQL(f"({', '.join([database.obj.param] * len(given))})", given))


def connect(settings: Settings, *, is_there: bool = False) -> None:
    """Bind all tables to the database of these settings. Connections open when a thread first needs one.

    Args:
        is_there: it was in use a moment ago; one that is away is being restarted, and is waited for.

    Raises:
        DataValidationError: the URL names no database that we support.
    """
    opened = _open(settings.database, is_there)
    if database.obj is not None and not database.is_closed():
        database.close()
    database.initialize(opened)


def let_go() -> None:
    """Close the connection of this thread, which does not need one for long, or ends."""
    database.close()


def end() -> None:
    """Close the connections of all threads, at the end of a process."""
    if isinstance(database.obj, LastingPostgresql):
        database.obj.close_all()


def _open(url: str, is_there: bool) -> Database:
    if url.startswith("sqlite:///"):
        return SqliteDatabase(
            url.removeprefix("sqlite:///"),
            timeout=BUSY_TIMEOUT_SECONDS,
            lock_type="IMMEDIATE",
            pragmas={"journal_mode": "wal", "foreign_keys": 1, "synchronous": "full"},
        )
    if url.startswith(("postgresql://", "postgres://")):
        with suppress(ImproperlyConfigured, ValueError):
            parts = db_url.parse(url, unquote_user=True, unquote_password=True)
            return LastingPostgresql(**parts, is_there=is_there)
    # The URL may hold a password: it is not repeated.
    raise DataValidationError(
        [FieldProblem("JOTUNHEIM_DATABASE_URL", "must be sqlite:///PATH or postgresql://…")]
    )


@contextmanager
def usable() -> Iterator[None]:
    """A part, or as a decorator a function, in which a database that cannot be used is a StoreUnavailableError."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        # The driver's text names files and hosts, never a password.
        raise StoreUnavailableError(
            f"The database cannot be used: {str(error).strip()}.",
            hint="Run `jotunheim init` on a new machine; else check JOTUNHEIM_DATABASE_URL and the file's rights.",
        ) from None


def migrate() -> list[str]:
    """Apply the pending migrations; returns their names.

    Raises:
        StoreUnavailableError: the database cannot be used.
    """
    with usable():
        return list(_migrations().up())


def pending_migrations() -> list[str]:
    """Names of migrations that this database still lacks, and of applied ones that this version lacks.

    Raises:
        StoreUnavailableError: the database cannot be used.
    """
    with usable():
        status = _migrations().status()
    return [migration.name for migration in status if migration.applied is None or migration.path is None]


def check() -> list[str]:
    """Look for damage: file integrity and dangling foreign keys (SQLite), pending migrations.

    Returns:
        One sentence per problem; empty when all is well.

    Raises:
        StoreUnavailableError: the database cannot be used at all.
    """
    problems = [
        f"Migration {name} is not applied, or unknown to this version." for name in pending_migrations()
    ]
    if isinstance(database.obj, SqliteDatabase):
        with usable():
            rows = [row[0] for row in database.execute_sql("PRAGMA integrity_check")]
            dangling = list(database.execute_sql("PRAGMA foreign_key_check"))
        problems += [f"Integrity: {row}" for row in rows if row != "ok"]
        problems += [
            f"Row {row} of {table} refers to a missing row of {parent}." for table, row, parent, _ in dangling
        ]
    return problems


def _migrations() -> Runner:
    return Runner(database.obj, directory=str(MIGRATIONS))


def backup(target: Path) -> None:
    """Copy the embedded database to a new file while it is in use.

    Raises:
        DataValidationError: the file exists, or the database is not SQLite.
    """
    if not isinstance(database.obj, SqliteDatabase):
        raise DataValidationError(
            [FieldProblem("FILE", "only SQLite is copied here; use pg_dump for PostgreSQL")]
        )
    if target.exists():
        raise DataValidationError([FieldProblem("FILE", f"{target} exists")])
    target.touch(mode=0o600)
    copy = sqlite3.connect(target)
    try:
        database.connection().backup(copy)
    finally:
        copy.close()
