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
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL database of this module's own."""
    with databases.postgresql() as server:
        yield server.url


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


def test_requests_at_once_oversubscribe_nothing_on_postgresql(postgresql_service: Service) -> None:
    service, size = postgresql_service, 30 * 2**30
    path = f"nodes/{service.ids['node']}"
    node = service.ask(path, {"memory_overcommit": 0.1}, "PATCH")["node"]
    fit = node["state"]["memory_available_bytes"] // size
    assert fit in (2, 3)
    barrier = threading.Barrier(20)

    def create(number: int) -> int:
        barrier.wait()
        spec = {"name": f"pg-large-{number}", "template_id": service.ids["template"], "memory_bytes": size}
        return service.http.post("/admin/servers", json={**spec, "start": False}).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(create, range(20)))
    assert codes == [202] * fit + [409] * (20 - fit)
    service.ask(path, {"memory_overcommit": 1.0}, "PATCH")


def test_changes_at_once_find_what_is_free(postgresql_service: Service) -> None:
    """One that waits for another's prefixes takes the next ones; none is told that there are none."""
    service = postgresql_service
    spec = {"name": "crowd", "family": "ipv6", "first": "fd12::", "last": "fd12:0:0:b::", "prefix_length": 48}
    pool = service.create("address-pools", {**spec, "delegated_prefix_length": 64})["address_pool"]
    assert pool["total"] == 12
    made = [service.create_server(f"crowd-{number}", start=False) for number in range(6)]
    assert {service.finished(each["job"]["id"])["status"] for each in made} == {"succeeded"}
    barrier = threading.Barrier(12)

    def ask(number: int) -> httpx.Response:
        barrier.wait()
        if number % 2:  # what takes room and addresses as well
            spec = {"name": f"beside-{number}", "template_id": service.ids["template"], "start": False}
            return service.http.post("/admin/servers", json={**spec, "addresses": {"ipv4": 1}})
        change = {"memory_bytes": 2 * 2**30, "addresses": {"ipv6_prefixes": 2}}
        return service.http.patch(f"/admin/servers/{made[number // 2]['server']['id']}", json=change)

    with ThreadPoolExecutor(12) as callers:
        answers = list(callers.map(ask, range(12)))
    assert [answer.status_code for answer in answers] == [202] * 12, [answer.text for answer in answers]
    given = [prefix for answer in answers[::2] for prefix in answer.json()["server"]["delegated_prefixes"]]
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


def test_a_node_is_changed_and_asked_at_once(postgresql_service: Service, sandbox: Sandbox) -> None:
    service, http = postgresql_service, postgresql_service.http
    path = f"/admin/nodes/{service.ids['node']}"
    barrier = threading.Barrier(6)

    def ask(number: int) -> list[httpx.Response]:
        barrier.wait()
        if number % 2:
            return [http.post(f"{path}/sync") for _ in range(6)]
        return [http.patch(path, json={"host": "127.0.0.1", "labels": {"n": str(n)}}) for n in range(6)]

    with ThreadPoolExecutor(6) as callers:
        answers = [answer for several in callers.map(ask, range(6)) for answer in several]
    assert not [answer.text for answer in answers if answer.status_code not in (200, 202)]
    jobs = {answer.json()["job"]["id"] for answer in answers if answer.status_code == 202}
    assert {service.finished(id_)["status"] for id_ in jobs} == {"succeeded"}


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


def test_a_key_and_a_vm_are_taken_once_however_many_ask(
    postgresql_service: Service, sandbox: Sandbox
) -> None:
    service = postgresql_service
    own = "5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a88"
    for vmid in (5901, 5902):  # two copies of one VM
        vm = {"vmid": vmid, "name": f"copy-{vmid}", "scsi0": "vmstore:1", "smbios1": f"uuid={own}"}
        sandbox.api.post("/nodes/pve1/qemu", data=vm).raise_for_status()
        wait_for(lambda vmid=vmid: int(vmid) in sandbox.vmids(), "the VM")
    barrier = threading.Barrier(8)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"

    def ask(number: int) -> list[httpx.Response]:
        vm = {"node_id": service.ids["node"], "vmid": 5901 + number % 2, "name": f"one-of-{number}"}
        barrier.wait()
        return [
            service.http.post("/admin/ssh-keys", json={"name": f"race-{number}", "public_key": key}),
            service.http.post("/admin/servers/import", json={**vm, "confirm": True}),
        ]

    with ThreadPoolExecutor(8) as pool:
        kept, imported = zip(*pool.map(ask, range(8)), strict=True)
    assert sorted(answer.status_code for answer in kept) == [201] + [409] * 7
    assert sorted(answer.status_code for answer in imported) == [202] * 2 + [409] * 6
    made = [answer.json() for answer in imported if answer.status_code == 202]
    assert {service.finished(answer["job"]["id"])["status"] for answer in made} == {"succeeded"}
    ids = {answer["server"]["vmid"]: answer["server"]["id"] for answer in made}
    assert (len(ids), list(ids.values()).count(own)) == (2, 1)
    for vmid, id_ in ids.items():
        assert sandbox.config(vmid)["smbios1"] == f"uuid={id_}"
    [mine] = service.read("ssh-keys?mine=true")["ssh_keys"]
    service.ask(f"ssh-keys/{mine['id']}", method="DELETE")


def test_a_ruleset_that_is_deleted_while_servers_take_it_is_theirs_or_gone(
    postgresql_service: Service,
) -> None:
    service, http = postgresql_service, postgresql_service.http
    ids = [service.built(f"pg-wall-{number}", start=False)["id"] for number in range(2)]
    rules = [{"direction": "in", "action": "DROP", "source": "192.0.2.1"}]
    for number in range(6):
        made = service.create("firewall-rulesets", {"name": f"race-{number}"})["firewall_ruleset"]
        path = f"/admin/firewall-rulesets/{made['id']}"
        barrier = threading.Barrier(5)

        def ask(who: int, path: str = path, id_: int = made["id"], barrier: Any = barrier) -> httpx.Response:
            barrier.wait()
            if who == 0:
                return http.delete(path)
            if who == 1:
                return http.patch(path, json={"rules": rules})
            if who == 2:
                return http.post(f"{path}/apply", json={"only_outdated": False})
            wanted = {"enabled": True, "rulesets": [id_]}
            return http.put(f"/admin/servers/{ids[who - 3]}/firewall", json=wanted)

        with ThreadPoolExecutor(5) as callers:
            deleted, changed, applied, *taken = callers.map(ask, range(5))
        assert deleted.status_code in (200, 409), deleted.text
        assert changed.status_code in (200, 404, 409), changed.text
        assert applied.status_code in (202, 404), applied.text
        assert {answer.status_code for answer in taken} <= {202, 409, 422}, [answer.text for answer in taken]
        jobs = [answer.json()["job"] for answer in taken if answer.status_code == 202]
        jobs += applied.json()["jobs"] if applied.status_code == 202 else []
        assert {service.finished(job["id"])["status"] for job in jobs} <= {"succeeded"}
        assert (deleted.status_code == 409) == any(answer.status_code == 202 for answer in taken)
        for id_ in ids:
            service.done(f"servers/{id_}/firewall", {}, "PUT")


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
