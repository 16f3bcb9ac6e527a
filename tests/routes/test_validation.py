"""Bad input gets an answer in the one shape that names every bad field, and changes nothing."""

from typing import Any

import pytest

from tests.support.service import Service

GIB = 1024**3
BAD_SERVER_FIELDS: dict[str, list[Any]] = {
    "name": ["", "-web", "web_1", "a" * 64, "web.", "wéb", 7, None, ["web"], "web 1", "x." * 127 + "toolong"],
    "hostname": ["under_score", "-a", "a..b", 5],
    "template_id": [0, -1, "1", 1.5, None, 10**12, True],
    "node_id": [0, "pve1"],
    "location_id": [-4],
    "owner_id": [0, "me"],
    "cpu": [0, -2, "2", 1.5, 100_000, True],
    "memory_bytes": [0, -GIB, GIB + 1, "1GiB", 1024, 1e300],
    "disk_bytes": [0, -1, 10 * GIB + 1, "10GiB"],
    "addresses": [{"ipv4": -1}, {"ipv4": "1"}, {"ipv5": 1}, [], 1, {"ipv4": 17}],
    "ssh_keys": [
        "not a list",
        ["ssh-rsa"],
        ["ssh-ed25519 !!!!"],
        ["ssh-ed25519 AAAA"],
        ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u\nssh-rsa AAAA"],
        ["ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u"],
        ['command="id" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u'],
        [""],
    ],
    "password": ["short", "x" * 129, "line\nbreak1", 12345678],
    "start": ["yes", 1],
    "labels": [{"": "x"}, {"a b": "x"}, {"k": "x\ny"}, {"k": 1}, {"k": "x" * 256}, []],
    "tags": [["UPPER"], ["a;b"], [""], ["-x"], "web"],
    "external_id": ["", "   ", "a\nb", 7],
    "expires_in_seconds": [0, -1, 1.5, "60", 2**40],
    "protected": ["no"],
    "limits": [{"snapshots": -1}, {"unknown": 1}, {"rate_bytes_per_second": 0}],
    "profiles": [["baseline"]],
    "surprise": [1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD_SERVER_FIELDS.items() for value in values]
)
def test_a_bad_field_is_named(service: Service, field: str, value: Any) -> None:
    spec = {"name": "fine", "template_id": service.ids["template"], field: value}
    answer = service.http.post("/admin/servers", json=spec)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "invalid_input"
    assert {detail["field"].split(".")[0] for detail in error["details"]} == {field}
    assert all(detail["message"] for detail in error["details"])


def test_all_bad_fields_are_named_at_once_and_nothing_is_kept(service: Service) -> None:
    before = service.read("servers")["meta"]["pagination"]["total_entries"]
    spec = {
        "name": "-x",
        "cpu": 0,
        "memory_bytes": -1,
        "disk_bytes": 5,
        "ssh_keys": ["nokey"],
        "nonsense": {},
    }
    error = service.http.post("/admin/servers", json=spec).json()["error"]
    fields = {detail["field"] for detail in error["details"]}
    assert fields == {"name", "template_id", "cpu", "memory_bytes", "disk_bytes", "ssh_keys.0", "nonsense"}
    assert service.read("servers")["meta"]["pagination"]["total_entries"] == before


def test_a_disk_smaller_than_the_templates_is_refused(service: Service) -> None:
    spec = {"name": "small", "template_id": service.ids["template"], "disk_bytes": GIB}
    answer = service.http.post("/admin/servers", json=spec)
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == ["disk_bytes"]


def test_references_to_nothing_are_named(service: Service) -> None:
    spec = {"name": "lost", "template_id": 999, "node_id": 998, "location_id": 997}
    answer = service.http.post("/admin/servers", json=spec)
    assert answer.status_code == 422
    assert {detail["field"] for detail in answer.json()["error"]["details"]} == {
        "template_id",
        "node_id",
        "location_id",
    }
    spec = {"name": "lost", "template_id": service.ids["template"], "owner_id": 999}
    details = service.http.post("/admin/servers", json=spec).json()["error"]["details"]
    assert [detail["field"] for detail in details] == ["owner_id"]


def test_a_refused_value_is_not_repeated(service: Service) -> None:
    for path, body in (
        ("/admin/servers", {"name": "x", "template_id": 1, "password": "hush\nhush-12"}),
        ("/admin/nodes", {"name": "x", "token_secret": "hush hush-12"}),
    ):
        answer = service.http.post(path, json=body)
        assert answer.status_code == 422
        assert "hush" not in answer.text


@pytest.mark.parametrize(
    ("content", "headers", "field"),
    [
        (b"{", {}, "body"),
        (b"", {}, "body"),
        (b"[]", {}, "body"),
        (b"null", {}, "body"),
        (b"\xff\xfe", {}, "body"),
        (b"[" * 100_000, {}, "body"),
        (b'{"name": "a"}', {"Content-Type": "text/plain"}, "Content-Type"),
        (b"{}", {"Idempotency-Key": "x" * 256}, "Idempotency-Key"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    service: Service, content: bytes, headers: dict[str, str], field: str
) -> None:
    answer = service.http.post(
        "/admin/servers", content=content, headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == 422, answer.text
    assert field in {detail["field"] for detail in answer.json()["error"]["details"]}


def test_a_body_that_is_too_large_is_refused(service: Service) -> None:
    answer = service.http.post("/admin/servers", content=b" " * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=x", "per_page=201", "per_page=0", "sort=password", "surprise=1", "page=1&page=2",
     "label_selector=novalue", "label_selector==x"],
)  # fmt: skip
def test_a_bad_query_is_named(service: Service, query: str) -> None:
    answer = service.http.get(f"/admin/servers?{query}")
    assert answer.status_code == 422, answer.text
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [query.partition("=")[0]]


POOL = {"name": "p", "family": "ipv4", "first": "10.1.0.5", "last": "10.1.0.9", "prefix_length": 24}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"first": "nonsense"}, "first"),
        ({"first": "fd00::1"}, "first"),
        ({"last": "10.1.0.1"}, "last"),
        ({"last": "10.2.0.1"}, "last"),
        ({"gateway": "10.9.0.1"}, "gateway"),
        ({"gateway": "fd00::1"}, "gateway"),
        ({"prefix_length": 33}, "prefix_length"),
        ({"prefix": "10.1.0.0/24"}, "prefix_length"),
        ({"first": None}, "first"),
        ({"nameservers": ["dns"]}, "nameservers.0"),
        ({"node_ids": [999]}, "node_ids.0"),
        ({"vlan": 4095}, "vlan"),
        ({"family": "ipv5"}, "family"),
        ({"first": "10.0.0.0", "last": "10.255.0.0", "prefix_length": 8}, "last"),
        ({"first": "10.1.0.5", "last": "10.1.0.5", "gateway": "10.1.0.5"}, "gateway"),
    ],
)
def test_an_address_pool_must_make_sense(service: Service, changes: dict[str, Any], field: str) -> None:
    answer = service.http.post("/admin/address-pools", json={**POOL, **changes})
    assert answer.status_code == 422, answer.text
    assert field in {detail["field"] for detail in answer.json()["error"]["details"]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tls": {"verify": False}}, "tls"),
        ({"tls": {"fingerprint": "AB:CD"}}, "tls.fingerprint"),
        ({"tls": {"ca_pem": "no pem"}}, "tls.ca_pem"),
        ({"token_id": "root"}, "token_id"),
        ({"token_secret": ""}, "token_secret"),
        ({"host": "not a host"}, "host"),
        ({"host": "fe80::1%\r\nX: y"}, "host"),
        ({"token_id": "root@pam!x"}, "token_id"),
        ({"port": 0}, "port"),
        ({"location_id": 999}, "location_id"),
        ({"memory_overcommit": 0}, "memory_overcommit"),
    ],
)
def test_a_node_must_make_sense(service: Service, changes: dict[str, Any], field: str) -> None:
    spec = {
        "name": "n",
        "location_id": service.ids["location"],
        "host": "192.0.2.1",
        "token_id": "root@pam!test",
        "token_secret": "secret",
        **changes,
    }
    answer = service.http.post("/admin/nodes", json=spec)
    assert answer.status_code == 422, answer.text
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [field]


@pytest.mark.parametrize(
    ("changes", "field"), [({"vmid": 12345}, "vmid"), ({"node_id": 999}, "node_id"), ({"vmid": 99}, "vmid")]
)
def test_a_template_must_be_one(service: Service, changes: dict[str, Any], field: str) -> None:
    answer = service.http.post(
        "/admin/templates", json={"name": "t", "node_id": service.ids["node"], "vmid": 9000, **changes}
    )
    assert answer.status_code == 422, answer.text
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [field]
