"""The same service on PostgreSQL, and with a queue on Redis."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import databases
from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture(scope="module")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL database of this module's own."""
    with databases.postgresql(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(scope="module")
def postgresql_service(
    postgresql_url: str, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose database and queue are on PostgreSQL."""
    state = tmp_path_factory.mktemp("on-postgresql")
    with Service.start(state, settings={"JOTUNHEIM_DATABASE_URL": postgresql_url}) as service:
        service.add_infrastructure(sandbox)
        yield service


def test_a_server_is_built_on_postgresql(postgresql_service: Service, sandbox: Sandbox) -> None:
    server = postgresql_service.built("pg-1", labels={"env": "pg"}, addresses={"ipv4": 1})
    assert sandbox.config(server["vmid"])["smbios1"] == f"uuid={server['id']}"
    assert not list(postgresql_service.state.glob("*.db"))
    listed = postgresql_service.read("servers?label_selector=env=pg&sort=-name")["servers"]
    assert [entry["name"] for entry in listed] == ["pg-1"]


def test_requests_at_once_share_nothing_on_postgresql(postgresql_service: Service) -> None:
    barrier = threading.Barrier(15)

    def create(number: int) -> dict[str, object]:
        barrier.wait()
        answer = postgresql_service.http.post(
            "/admin/servers",
            json={
                "name": f"pg-crowd-{number // 3}",
                "template_id": postgresql_service.ids["template"],
                "addresses": {"ipv4": 2},
            },
            headers={"Idempotency-Key": f"pg-crowd-{number // 3}"},
        )
        assert answer.status_code == 202, answer.text
        server: dict[str, object] = answer.json()["server"]
        return server

    with ThreadPoolExecutor(15) as pool:
        servers = {str(server["id"]): server for server in pool.map(create, range(15))}
    assert len(servers) == 5
    assert len({server["vmid"] for server in servers.values()}) == 5
    addresses = [entry["address"] for server in servers.values() for entry in server["addresses"]]  # type: ignore[attr-defined]
    assert len(set(addresses)) == len(addresses) == 10


def test_changes_at_once_find_what_is_free(postgresql_service: Service) -> None:
    """One that waits for another's prefixes takes the next ones; none is told that there are none."""
    service = postgresql_service
    spec = {"name": "crowd", "family": "ipv6", "first": "fd12::", "last": "fd12:0:0:b::", "prefix_length": 48}
    pool = service.create("address-pools", {**spec, "delegated_prefix_length": 64})["address_pool"]
    assert pool["total"] == 12
    made = [service.create_server(f"crowd-{number}", start=False) for number in range(6)]
    assert {service.finished(each["job"]["id"])["status"] for each in made} == {"succeeded"}
    barrier = threading.Barrier(6)

    def change(id_: str) -> httpx.Response:
        barrier.wait()
        return service.http.patch(f"/admin/servers/{id_}", json={"addresses": {"ipv6_prefixes": 2}})

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(change, [each["server"]["id"] for each in made]))
    assert [answer.status_code for answer in answers] == [202] * 6, [answer.text for answer in answers]
    given = [prefix for answer in answers for prefix in answer.json()["server"]["delegated_prefixes"]]
    assert len(set(given)) == 12
    assert service.read(f"address-pools/{pool['id']}")["address_pool"]["free"] == 0


def test_fifty_at_once_get_one_of_each(postgresql_service: Service) -> None:
    service = postgresql_service
    for spec in (
        {
            "name": "macs",
            "family": "ipv6",
            "prefix": "fd10::/120",
            "mac_prefix": "02:00:5E:00:01",
            "node_ids": [service.ids["node"]],
            "quarantine_seconds": 60,
        },
        {"name": "sites", "family": "ipv6", "prefix": "fd11::/58", "delegated_prefix_length": 64},
    ):
        service.create("address-pools", spec)
    barrier = threading.Barrier(50)

    def create(number: int) -> dict[str, Any]:
        barrier.wait()
        wanted = {"ipv6": 1, "ipv6_prefixes": 1}
        spec = {
            "name": f"fifty-{number}",
            "template_id": service.ids["template"],
            "addresses": wanted,
            "start": False,
        }
        created: dict[str, Any] = service.create("servers", spec)
        return created

    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(create, range(50)))
    servers = [each["server"] for each in made]
    for given in (
        [server["mac"] for server in servers],
        [server["addresses"][0]["address"] for server in servers],
        [server["delegated_prefixes"][0] for server in servers],
    ):
        assert len(set(given)) == 50
    for each in made:
        service.http.post(f"/admin/jobs/{each['job']['id']}/cancel", json={})


def test_pools_made_at_once_share_no_address(postgresql_service: Service) -> None:
    barrier = threading.Barrier(6)

    def make(number: int) -> int:
        barrier.wait()
        spec = {"name": f"same-{number}", "family": "ipv4", "prefix": "10.79.0.0/22"}
        return postgresql_service.http.post("/admin/address-pools", json=spec).status_code

    with ThreadPoolExecutor(6) as callers:
        assert sorted(callers.map(make, range(6))) == [201] + [409] * 5


def test_what_is_deleted_while_it_is_asked_for_is_not_half_there(
    postgresql_service: Service, sandbox: Sandbox
) -> None:
    """Whoever comes first: servers with addresses and their pool, or neither. Nothing is an error of the service's own."""
    service = postgresql_service
    http = service.http
    place = service.create("locations", {"name": "Race", "short_code": "race"})["location"]["id"]
    spec = service.node_spec(sandbox, name="race", location_id=place)
    node = service.create("nodes", spec)["node"]["id"]
    template = service.create("templates", {"name": "race", "node_id": node, "vmid": 9000})["template"]["id"]
    for number in range(8):
        pool = {
            "name": f"race-{number}",
            "family": "ipv6",
            "prefix": f"fd00:{number}::/120",
            "node_ids": [node],
        }
        pool_id = service.create("address-pools", pool)["address_pool"]["id"]
        barrier = threading.Barrier(4)

        def ask(
            who: int, number: int = number, pool_id: int = pool_id, barrier: Any = barrier
        ) -> httpx.Response:
            barrier.wait()
            if who == 0:
                return http.delete(f"/admin/address-pools/{pool_id}")
            if who == 1:
                return http.patch(f"/admin/address-pools/{pool_id}", json={"gateway": f"fd00:{number}::1"})
            wanted = {"name": f"race-{number}-{who}", "template_id": template, "addresses": {"ipv6": 1}}
            return http.post("/admin/servers", json=wanted, params={"check": "false"})

        with ThreadPoolExecutor(4) as callers:
            deleted, changed, *made = callers.map(ask, range(4))
        assert deleted.status_code in (200, 409), deleted.text
        assert changed.status_code in (200, 404, 409), changed.text
        assert {answer.status_code for answer in made} <= {202, 409}, [answer.text for answer in made]
        built = [answer.json()["server"] for answer in made if answer.status_code == 202]
        assert (deleted.status_code == 409) == bool(built)
        if built:  # it is nobody's in the next round
            service.ask(f"address-pools/{pool_id}", {"node_ids": [service.ids["node"]]}, "PATCH")
        gateway = changed.json()["address_pool"]["gateway"] if changed.status_code == 200 else None
        assert gateway not in [server["addresses"][0]["address"] for server in built]
        assert len({server["addresses"][0]["address"] for server in built}) == len(built)


def test_lists_can_be_read_while_what_they_show_is_deleted(postgresql_service: Service) -> None:
    http = postgresql_service.http
    over = threading.Event()

    def read() -> set[int]:
        seen = set()
        while not over.is_set():
            seen.add(http.get("/admin/address-pools").status_code)
        return seen

    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(read) for _ in range(2)]
        try:
            for number in range(30):
                spec = {"name": f"brief-{number}", "family": "ipv4", "prefix": "10.77.0.0/30"}
                made = postgresql_service.create("address-pools", spec)["address_pool"]
                assert http.delete(f"/admin/address-pools/{made['id']}").status_code == 200
        finally:
            over.set()
        assert [each.result() for each in reading] == [{200}, {200}]


def test_the_databases_password_is_in_no_file(postgresql_service: Service) -> None:
    postgresql_service.built("pg-canary", start=False)
    for folder, _, names in os.walk(postgresql_service.state):
        for name in names:
            assert b"canary-db-pa55" not in Path(folder, name).read_bytes(), name


def test_a_queue_on_redis_wakes_workers(sandbox: Sandbox, tmp_path: Path) -> None:
    with databases.redis(tmp_path) as url:
        # Without the sweep, only the queue can wake the worker.
        settings = {"JOTUNHEIM_QUEUE_URL": url, "JOTUNHEIM_SWEEP_SECONDS": "3600"}
        with Service.start(tmp_path / "state", settings=settings) as service:
            service.add_infrastructure(sandbox)
            service.built("redis-1", start=False)
