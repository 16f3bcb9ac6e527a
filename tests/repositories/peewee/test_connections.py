"""Connections to PostgreSQL end with what they were opened for."""

import threading
import time
import uuid
from pathlib import Path

import psycopg
import pytest

from jotunheim.repositories.peewee import database
from jotunheim.settings import Settings
from tests.support import databases
from tests.support.in_process import InProcess


def _open(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'jotunheim' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _wait_for_none(url: str) -> None:
    deadline = time.monotonic() + 10  # the server's processes end a moment later
    while _open(url):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("store")
def test_a_thread_that_ends_leaves_no_connection(tmp_path: Path) -> None:
    go_on = threading.Event()

    def work() -> None:
        database.database.execute_sql("SELECT 1")
        ready.wait()
        go_on.wait()

    with databases.postgresql() as server:
        database.connect(Settings(state_dir=tmp_path, database_url=server.url))
        ready = threading.Barrier(6)
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        ready.wait()
        assert _open(server.url) == 5
        go_on.set()
        for thread in threads:
            thread.join()
        _wait_for_none(server.url)
        database.end()


def test_an_api_that_ends_leaves_no_connection(tmp_path: Path) -> None:
    with databases.postgresql() as server:
        with InProcess.start(tmp_path / "state", database_url=server.url) as service:
            assert service.ask("GET", "/admin/servers", service.token).status_code == 200
            context = service.app.state.context
            context.wake(uuid.uuid4())
            assert _open(server.url) >= 2
        _wait_for_none(server.url)
        del context
