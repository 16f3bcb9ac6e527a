"""PostgreSQL as it is in practice: restarted now and then, and free to give up one of two transactions that wait for each other."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast
from weakref import WeakSet, finalize

from peewee import InterfaceError, OperationalError, PostgresqlDatabase

PATIENCE_SECONDS = 10.0
"""How long a process waits for a server that was there, from when it first misses it."""
_PAUSE_SECONDS = 0.2
_GIVEN_UP = frozenset({"40001", "40P01"})
"""SQLSTATE: serialization failure, deadlock."""

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class _Thread:
    """Stands for a thread that has a connection: it goes with the thread, or with the database."""


def _close_here(connection: Any, process_id: int) -> None:
    """Close a connection, unless this is a child of the process that opened it, which goes on using it."""
    if os.getpid() == process_id:
        connection.close()


class LastingPostgresql(PostgresqlDatabase):
    """A database whose connections are opened anew when they are lost.

    A statement that finds its connection lost is made again, unless it belongs to a transaction: then that fails as a whole.
    So what is written outside of transactions must bear to be written twice.

    Args:
        is_there: as of `database.connect`.
    """

    def __init__(self, *args: Any, is_there: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_there = is_there
        self._away_since: float | None = None
        self._away_lock = threading.Lock()
        self._opened: WeakSet[Any] = WeakSet()
        self._local = threading.local()

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Execute a statement."""
        parent: Any = super()
        return self._again_if_lost(lambda: parent.execute_sql(sql, params))

    def begin(self, *args: Any, **options: Any) -> Any:
        """Begin a transaction."""
        parent: Any = super()
        return self._again_if_lost(lambda: parent.begin(*args, **options))

    def _again_if_lost(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except (OperationalError, InterfaceError):
            if self.in_transaction() or not self.is_lost():
                raise
            log.info("The connection to the database was lost; it is opened anew.")
            self.close()
            return action()

    def is_lost(self) -> bool:
        """Whether this thread has a connection, and it is of no more use."""
        return not self.is_closed() and bool(cast("Any", self).connection().closed)

    def _connect(self) -> Any:
        parent: Any = super()
        while True:
            try:
                connection = parent._connect()
            except Exception:  # the driver's, which is not loaded where it is not needed
                if not self._may_return():
                    raise
                time.sleep(_PAUSE_SECONDS)
                continue
            with self._away_lock:
                self._is_there, self._away_since = True, None
                self._opened.add(connection)
            # The finalizer holds the connection: collected together with it, the two could go in any order.
            self._local.thread = _Thread()
            finalize(self._local.thread, _close_here, connection, os.getpid()).atexit = False
            return connection

    def close_all(self) -> None:
        """Close the connections of all threads, at the end of a process."""
        with self._away_lock:
            for connection in list(self._opened):
                connection.close()

    def _may_return(self) -> bool:
        with self._away_lock:
            if not self._is_there:
                return False
            self._away_since = self._away_since or time.monotonic()
            return time.monotonic() - self._away_since < PATIENCE_SECONDS


def is_passing(error: OperationalError | InterfaceError, database: LastingPostgresql) -> bool:
    """Whether a transaction that failed so was undone for no fault of its own, and can be done again."""
    state = getattr(cast("Any", error).orig, "sqlstate", None)
    return state in _GIVEN_UP or database.is_lost()
