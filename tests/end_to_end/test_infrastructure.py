"""Locations, nodes, templates and address pools change and go, but not while something needs them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture
def service(fresh_service: Service, sandbox: Sandbox) -> Service:
    """A service with infrastructure and no worker: servers are only recorded."""
    fresh_service.add_infrastructure(sandbox)
    return fresh_service


@pytest.fixture(scope="module")
def standing(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The same, for tests after which it is as it was."""
    with Service.start(tmp_path_factory.mktemp("standing"), worker=False) as started:
        started.add_infrastructure(sandbox)
        yield started


def changed(service: Service, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The answer to a PATCH that must be accepted."""
    answer = service.http.patch(f"/admin/{path}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    (document,) = answer.json().values()
    found: dict[str, Any] = document
    return found


def deleted(service: Service, path: str) -> None:
    """DELETE what must go, and does."""
    answer = service.http.delete(f"/admin/{path}")
    assert answer.status_code == 200, answer.text
    assert service.http.get(f"/admin/{path}").status_code == 404


def path_of(service: Service, kind: str) -> str:
    """Below /admin."""
    plurals = {"location": "locations", "node": "nodes", "template": "templates", "pool": "address-pools"}
    return f"{plurals[kind]}/{service.ids[kind]}"


def test_each_changes_what_is_named_and_nothing_else(service: Service) -> None:
    for kind, change in (
        ("location", {"name": "Frankfurt", "short_code": "fra1"}),
        ("node", {"max_concurrent_clones": 5, "bridge": "vmbr0", "labels": {"disk": "nvme"}}),
        ("template", {"name": "debian-12", "default_user": None, "os_family": "linux"}),
        ("pool", {"name": "wan", "vlan": 7, "nameservers": ["10.99.1.3", "fd00::1"], "gateway": None}),
    ):
        path = path_of(service, kind)
        read = service.http.get(f"/admin/{path}")
        (before,) = read.json().values()
        after = changed(service, path, change, **{"If-Match": read.headers["etag"]})
        assert after == before | change | {"updated_at": after["updated_at"]}
        (stored,) = service.read(path).values()
        assert stored == after
        stale = service.http.patch(f"/admin/{path}", json=change, headers={"If-Match": read.headers["etag"]})
        assert (stale.status_code, stale.json()["error"]["code"]) == (412, "precondition_failed")


@pytest.mark.parametrize(
    ("kind", "change", "field"),
    [
        ("location", {"name": None}, "name"),
        ("location", {"short_code": "-"}, "short_code"),
        ("location", {"id": 7}, "id"),
        ("node", {"location_id": 99}, "location_id"),
        ("node", {"token_secret": ""}, "token_secret"),
        ("node", {"tls": {"verify": False}}, "tls"),
        ("node", {"host": "{{ lookup('pipe','id') }}"}, "host"),
        ("template", {"minimum_disk_bytes": 2**30}, "minimum_disk_bytes"),
        ("template", {"vmid": 9001}, "vmid"),
        ("pool", {"gateway": "10.98.0.1"}, "gateway"),
        ("pool", {"gateway": "fd00::1"}, "gateway"),
        ("pool", {"gateway": "x"}, "gateway"),
        ("pool", {"nameservers": ["x"]}, "nameservers.0"),
        ("pool", {"node_ids": [1, 99]}, "node_ids.1"),
        ("pool", {"family": "ipv6"}, "family"),
    ],
)
def test_a_bad_change_names_its_field_and_changes_nothing(
    standing: Service, kind: str, change: dict[str, Any], field: str
) -> None:
    path = path_of(standing, kind)
    before = standing.read(path)
    status, error = standing.refused(path, change, "PATCH")
    assert (status, error["code"]) == (422, "invalid_input"), error
    assert [detail["field"] for detail in error["details"]] == [field]
    assert standing.read(path) == before


def test_what_is_in_use_stays_and_says_by_whom(service: Service) -> None:
    service.create_server("tenant", addresses={"ipv4": 1})
    for kind, users in (
        ("location", {"nodes": "pve1"}),
        ("node", {"servers": "tenant", "templates": "debian"}),
        ("template", {"servers": "tenant"}),
        ("pool", {"servers": "tenant"}),
    ):
        before = service.read(path_of(service, kind))
        status, error = service.refused(path_of(service, kind), None, "DELETE")
        assert (status, error["code"]) == (409, "conflict"), error
        assert {detail["field"]: detail["message"] for detail in error["details"]} == users
        assert service.read(path_of(service, kind)) == before


def test_a_node_with_servers_keeps_its_name(service: Service) -> None:
    path = path_of(service, "node")
    assert changed(service, path, {"name": "pve7"})["name"] == "pve7"
    service.create_server("tenant")
    status, error = service.refused(path, {"name": "pve1", "port": 8007}, "PATCH")
    assert (status, error["details"]) == (409, [{"field": "servers", "message": "tenant"}])
    assert service.read(path)["node"]["port"] != 8007
    changed(service, path, {"name": "pve7"})


def test_many_users_are_counted(service: Service) -> None:
    for number in range(7):
        service.create_server(f"tenant-{number}")
    _, error = service.refused(path_of(service, "template"), None, "DELETE")
    assert error["details"][0]["message"] == "tenant-0, tenant-1, tenant-2, tenant-3, tenant-4 and 2 more"


def test_a_pool_that_is_only_for_a_node_keeps_it(service: Service) -> None:
    changed(service, path_of(service, "pool"), {"node_ids": [service.ids["node"]]})
    deleted(service, path_of(service, "template"))
    _, error = service.refused(path_of(service, "node"), None, "DELETE")
    assert error["details"] == [{"field": "address_pools", "message": "lab"}]
    assert changed(service, path_of(service, "pool"), {"node_ids": []})["node_ids"] == []
    for kind in ("node", "pool", "location"):
        deleted(service, path_of(service, kind))
    assert service.http.delete(f"/admin/{path_of(service, 'node')}").status_code == 404


def test_an_old_version_is_not_deleted(service: Service) -> None:
    path = path_of(service, "location")
    old = service.http.get(f"/admin/{path}").headers["etag"]
    changed(service, path, {"name": "moved"})
    assert service.http.delete(f"/admin/{path}", headers={"If-Match": old}).status_code == 412


def test_a_taken_name_is_refused(service: Service) -> None:
    service.create("locations", {"name": "Other", "short_code": "other"})
    status, error = service.refused(path_of(service, "location"), {"short_code": "other"}, "PATCH")
    assert (status, error["code"]) == (409, "uniqueness_error")
    assert "other" in error["message"]


def test_a_nodes_token_is_replaced_while_it_works(service: Service, sandbox: Sandbox) -> None:
    made = sandbox.api.post("/access/users/root@pam/token/second", data={"privsep": 0}).json()["data"]
    path = path_of(service, "node")
    wrong = changed(service, path, {"token_secret": "00000000-0000-0000-0000-000000000000"})
    assert service.create(f"{path}/test", {})["test"]["code"] == "node_unauthorized"
    assert "token_secret" not in wrong
    change = {"token_id": made["full-tokenid"], "token_secret": made["value"]}
    assert changed(service, path, change)["token_id"] == "root@pam!second"
    assert service.create(f"{path}/test", {})["test"]["ok"]
    service.start_worker()
    assert service.built("by-the-new-token")["status"] == "ready"


def test_a_drained_node_takes_no_new_servers(service: Service) -> None:
    path = path_of(service, "node")
    kept = service.create_server("kept")["server"]
    assert service.create(f"{path}/drain", {})["node"]["drained"]
    spec = {"name": "late", "template_id": service.ids["template"]}
    status, error = service.refused("servers", spec)
    assert (status, error["code"]) == (409, "placement_error"), error
    assert "pve1" in error["message"]
    assert service.server(kept["id"])["name"] == "kept"
    assert not service.create(f"{path}/drain", {"drained": False})["node"]["drained"]
    service.create_server("late")


class TestAddresses:
    """The addresses of a pool: listed, reserved, taken out."""

    @pytest.fixture
    def pool(self, service: Service) -> str:
        """A pool of four addresses, and the only one."""
        deleted(service, path_of(service, "pool"))
        spec = {"name": "small", "family": "ipv4", "prefix_length": 29, "nameservers": []}
        made = service.create("address-pools", {**spec, "first": "10.97.0.2", "last": "10.97.0.5"})
        return f"address-pools/{made['address_pool']['id']}"

    def counts(self, service: Service, pool: str) -> tuple[int, int, int]:
        """Total, free and reserved."""
        found = service.read(pool)["address_pool"]
        return found["total"], found["free"], found["reserved"]

    def test_a_reserved_address_goes_to_nobody(self, service: Service, pool: str) -> None:
        kept = changed(service, f"{pool}/addresses/10.97.0.2", {"reserved_for": "printer"})
        assert (kept["address"], kept["reserved_for"], kept["server_id"]) == ("10.97.0.2", "printer", None)
        assert self.counts(service, pool) == (4, 3, 1)
        got = service.create_server("one", addresses={"ipv4": 1})["server"]
        assert [address["address"] for address in got["addresses"]] == ["10.97.0.3"]
        status, error = service.refused(
            "servers", {"name": "many", "template_id": service.ids["template"], "addresses": {"ipv4": 3}}
        )
        assert (status, error["code"]) == (409, "placement_error")
        assert changed(service, f"{pool}/addresses/10.97.0.2", {"reserved_for": None})["reserved_for"] is None
        service.create_server("many", addresses={"ipv4": 3})
        assert self.counts(service, pool) == (4, 0, 0)

    def test_a_servers_address_is_reserved_for_afterwards(self, service: Service, pool: str) -> None:
        got = service.create_server("one", addresses={"ipv4": 1})["server"]
        changed(service, f"{pool}/addresses/10.97.0.2", {"reserved_for": "router"})
        assert self.counts(service, pool) == (4, 3, 0)
        job = service.read(f"servers/{got['id']}")["server"]["job_id"]
        service.ask(f"jobs/{job}/cancel")
        assert self.counts(service, pool) == (4, 3, 1)

    def test_they_are_listed_in_their_order(self, service: Service, pool: str) -> None:
        got = service.create_server("one", addresses={"ipv4": 1})["server"]
        listed = service.read(f"{pool}/addresses?per_page=3")
        assert [a["address"] for a in listed["addresses"]] == ["10.97.0.2", "10.97.0.3", "10.97.0.4"]
        assert listed["addresses"][0]["server_id"] == got["id"]
        assert listed["meta"]["pagination"]["total_entries"] == 4
        turned = service.read(f"{pool}/addresses?sort=-address")["addresses"]
        assert turned[0]["address"] == "10.97.0.5"

    def test_one_that_is_free_can_be_taken_out(self, service: Service, pool: str) -> None:
        service.create_server("one", addresses={"ipv4": 1})
        removed = service.http.delete(f"/admin/{pool}/addresses/10.97.0.4")
        assert removed.json()["address"]["address"] == "10.97.0.4"
        assert self.counts(service, pool) == (3, 2, 0)
        status, error = service.refused(f"{pool}/addresses/10.97.0.2", None, "DELETE")
        assert (status, error["code"]) == (409, "conflict")
        assert service.refused(f"{pool}/addresses/10.97.0.4", None, "DELETE")[0] == 404
        assert service.refused(f"{pool}/addresses/x", None, "DELETE")[0] == 422

    def test_a_new_gateway_is_handed_out_no_more(self, service: Service, pool: str) -> None:
        assert changed(service, pool, {"gateway": "10.97.0.2"})["total"] == 3
        got = service.create_server("one", addresses={"ipv4": 1})["server"]
        assert [(a["address"], a["gateway"]) for a in got["addresses"]] == [("10.97.0.3", "10.97.0.2")]
        status, error = service.refused(pool, {"gateway": "10.97.0.3"}, "PATCH")
        assert (status, error["details"][0]["field"]) == (409, "gateway")
        assert service.read(pool)["address_pool"]["gateway"] == "10.97.0.2"
