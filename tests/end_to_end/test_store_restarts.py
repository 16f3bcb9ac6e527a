"""The database is restarted under a service, and gives up one of two transactions that wait for each other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.infrastructure import Location
from jotunheim.settings import Settings
from tests.support import databases
from tests.support.databases import PostgreSQL
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that takes fewer connections than are made to the API."""
    with databases.postgresql("-c", "max_connections=60") as started:
        yield started


@pytest.fixture(scope="module")
def service(
    server: PostgreSQL, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service on it, whose worker asks the nodes all the time."""
    settings = {
        "JOTUNHEIM_DATABASE_URL": server.url,
        "JOTUNHEIM_SYNC_SECONDS": "0.5",
        "JOTUNHEIM_RETRY_BASE_SECONDS": "1",
    }
    with Service.start(tmp_path_factory.mktemp("restarts"), settings=settings) as started:
        started.add_infrastructure(sandbox)
        started.built("before", start=False)  # the worker is there
        yield started


def _asked_by_many(service: Service) -> list[httpx.Response]:
    """As many as the API serves at once, so that each of its threads has a connection."""
    barrier = threading.Barrier(40)

    def ask(number: int) -> list[httpx.Response]:
        barrier.wait()
        spec = {"name": f"Place {number}", "short_code": f"place-{number}"}
        path = f"/admin/nodes/{service.ids['node']}"
        return [
            service.http.get("/admin/nodes"),
            service.http.post("/admin/locations", json=spec),
            service.http.patch(path, json={"labels": {"n": str(number)}}),
        ]

    with ThreadPoolExecutor(40) as callers:
        return [answer for answers in callers.map(ask, range(40)) for answer in answers]


def test_no_request_hears_of_a_restart(service: Service, server: PostgreSQL) -> None:
    first = _asked_by_many(service)
    assert not [answer.text for answer in first if not answer.is_success]
    with ThreadPoolExecutor(1) as other:
        restarted = other.submit(server.restart, 1)
        wait_for(lambda: server.server is None or restarted.done(), "the database to go")
        meanwhile = service.http.get("/admin/nodes")  # it waits
        restarted.result()
    assert meanwhile.status_code == 200, meanwhile.text
    again = _asked_by_many(service)
    assert not [answer.text for answer in again if not answer.is_success and answer.status_code != 409]


def test_workers_go_on_after_a_restart(service: Service, server: PostgreSQL) -> None:
    def synced_at() -> Any:
        return service.read(f"nodes/{service.ids['node']}")["node"]["state"]["synced_at"]

    server.restart(0.5)
    before = synced_at()
    wait_for(lambda: synced_at() > before, "another sync")
    service.built("after-the-restart")


@pytest.mark.parametrize("away_seconds", [0.2, 3])
def test_jobs_outlive_a_restart(
    service: Service, server: PostgreSQL, sandbox: Sandbox, away_seconds: float
) -> None:
    clones, vms = len(sandbox.clone_tasks()), sandbox.vmids()
    made = [service.create_server(f"outlives-{away_seconds:.0f}-{number}") for number in range(3)]
    wait_for(lambda: len(sandbox.clone_tasks()) > clones, "the first clone")
    server.restart(away_seconds)
    ended = [service.finished(each["job"]["id"], seconds=60) for each in made]
    assert {job["status"] for job in ended} == {"succeeded"}, ended
    assert len(sandbox.clone_tasks()) == clones + 3
    assert sandbox.vmids() - vms == {each["server"]["vmid"] for each in made}


def test_two_that_wait_for_each_other_are_both_done(server: PostgreSQL, tmp_path: Path) -> None:
    database.connect(Settings(state_dir=tmp_path, database_url=server.url))
    database.migrate()
    with database.transaction():
        places = [Location.create(name="Before", short_code=f"wait-{number}") for number in range(2)]
    barrier, tries = threading.Barrier(2), []

    def change(who: int) -> None:
        def rename() -> None:
            tries.append(who)
            Location.update(name=f"by {who}").where(Location.id == places[who].id).execute()
            if len(tries) <= 2:
                barrier.wait()
            Location.update(name=f"by {who}").where(Location.id == places[1 - who].id).execute()

        database.transact(rename)
        database.database.close()

    with ThreadPoolExecutor(2) as both:
        list(both.map(change, range(2)))
    assert "deadlock detected" in server.log.read_text()
    names = {place.name for place in Location.select().where(Location.id.in_(places))}
    database.database.close()
    assert len(tries) == 3
    assert names == {f"by {tries[-1]}"}
