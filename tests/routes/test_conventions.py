"""What holds for all routes: tokens, ids, errors, pages, idempotency, and a description that is true."""

import html
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import pytest

from jotunheim.exceptions.http import STATUS
from jotunheim.routes import api_admin, api_auth, api_client
from jotunheim.services.accounts.credentials import TOKEN_PREFIX, is_well_formed
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

OPERATIONS = [*api_admin.operations, *api_client.operations, *api_auth.operations]
PROTECTED = [operation for operation in OPERATIONS if not operation.access.public]


def test_only_logins_need_no_token() -> None:
    public = {operation.path for operation in OPERATIONS if operation.access.public}
    assert public == {"/auth/login", "/auth/sso/login"}


@pytest.mark.parametrize("operation", PROTECTED, ids=lambda operation: f"{operation.method} {operation.path}")
@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer jtn_nonsense", "Basic YTpi", "Bearer jtn_" + "0" * 49], ids=str
)
def test_no_route_answers_without_a_valid_token(service: Service, operation: Any, header: str | None) -> None:
    path = operation.path.replace("{id:row}", "1").replace(
        "{id:uuid}", "00000000-0000-4000-8000-000000000000"
    )
    path = (
        path.replace("{schedule_id:row}", "1")
        .replace("{delivery_id:row}", "1")
        .replace("{name:str}", "before")
        .replace("{backup_id:uuid}", "00000000-0000-4000-8000-000000000000")
        .replace("{orphan_id:uuid}", "00000000-0000-4000-8000-000000000000")
    )
    url = str(service.http.base_url).rstrip("/") + path
    answer = plain_http.request(operation.method, url, headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "unauthorized"


def test_a_token_is_recognised_by_its_checksum(service: Service) -> None:
    assert is_well_formed(service.token, TOKEN_PREFIX)
    changed = service.token[:-1] + ("0" if service.token[-1] != "0" else "1")
    assert not is_well_formed(changed, TOKEN_PREFIX)


@pytest.mark.parametrize("what", ["locations", "nodes", "templates", "address-pools"])
@pytest.mark.parametrize("id_", ["999", "0", "-1", "1.0", "9223372036854775808", "9" * 400, "\uff11"])
def test_what_does_not_exist_is_404(service: Service, what: str, id_: str) -> None:
    answer = service.http.get(f"/admin/{what}/{id_}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/admin/servers/", "/admin/jobs/"])
@pytest.mark.parametrize("id_", ["00000000-0000-4000-8000-000000000000", "7", "x", "%2e%2e"])
def test_no_such_server_or_job_is_404(service: Service, path: str, id_: str) -> None:
    answer = service.http.get(path + id_)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_unknown_paths_and_methods_answer_in_the_one_shape(service: Service) -> None:
    nowhere = service.http.get("/admin/nowhere")
    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "not_found")
    wrong = service.http.put("/admin/servers", json={})
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    for answer in (nowhere, wrong):
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "details", "request_id"}
        assert error["code"] in STATUS


def test_a_head_request_ends_where_a_get_would_stream(service: Service) -> None:
    created = service.create_server("headed", start=False)
    path = f"/admin/jobs/{created['job']['id']}/events"
    answer = service.http.head(path, headers={"Accept": "text/event-stream"}, timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
    service.finished(created["job"]["id"])


def test_an_answer_stays_small_however_much_is_wrong(service: Service) -> None:
    answer = service.http.post("/admin/servers", json={f"field-{number}": 1 for number in range(20_000)})
    assert answer.status_code == 422
    assert len(answer.content) < 100_000


def test_the_request_id_is_taken_answered_and_kept(service: Service) -> None:
    created = service.http.post(
        "/admin/servers",
        json={"name": "traced", "template_id": service.ids["template"], "start": False},
        headers={"X-Request-ID": "order-42"},
    )
    assert created.headers["x-request-id"] == "order-42"
    assert created.json()["job"]["request_id"] == "order-42"
    job = service.finished(created.json()["job"]["id"])
    assert service.read("jobs?request_id=order-42")["jobs"] == [job]
    assert [step["name"] for step in job["steps"] if step["diff"] and step["upids"]]
    assert service.read("jobs?request_id=order-4")["jobs"] == []
    refused = service.http.get("/admin/servers/7", headers={"X-Request-ID": "order-43"})
    assert refused.headers["x-request-id"] == refused.json()["error"]["request_id"] == "order-43"
    log = (service.state / "serve.log").read_text()
    assert "request_id=order-42" in log


def test_a_request_id_that_could_forge_log_lines_is_replaced(service: Service) -> None:
    answer = service.http.get("/admin/servers", headers={"X-Request-ID": "a b\tINFO forged"})
    assert answer.headers["x-request-id"] != "a b\tINFO forged"
    assert len(answer.headers["x-request-id"]) == 36


def test_the_same_idempotency_key_creates_once_and_answers_the_same(service: Service) -> None:
    spec = {"name": "once", "template_id": service.ids["template"], "start": False}
    headers = {"Idempotency-Key": "once-1"}
    first = service.http.post("/admin/servers", json=spec, headers=headers)
    again = service.http.post("/admin/servers", json=spec, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert first.json()["root_password"]
    assert again.headers["location"] == first.headers["location"]
    other = service.http.post("/admin/servers", json={**spec, "name": "twice"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    service.finished(first.json()["job"]["id"])


def test_fifty_identical_requests_at_once_create_one_server(service: Service) -> None:
    spec = {"name": "stampede", "template_id": service.ids["template"], "start": False}
    barrier = threading.Barrier(50)

    def post(_: int) -> httpx.Response:
        barrier.wait()
        return service.http.post("/admin/servers", json=spec, headers={"Idempotency-Key": "stampede"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["server"]["id"] for answer in answers}) == 1
    assert len({answer.json()["root_password"] for answer in answers}) == 1
    service.finished(answers[0].json()["job"]["id"])


def test_requests_that_ask_a_node_are_answered_once_too(service: Service, sandbox: Sandbox) -> None:
    sandbox.api.post("/nodes/pve1/qemu/9000/clone", data={"newid": 9100, "full": 1}).raise_for_status()
    wait_for(lambda: "lock" not in sandbox.config(9100), "the clone")
    sandbox.api.post("/nodes/pve1/qemu/9100/template").raise_for_status()
    wait_for(lambda: sandbox.config(9100).get("template"), "the template")
    spec = {"name": "second", "node_id": service.ids["node"], "vmid": 9100}
    answers = [
        service.http.post("/admin/templates", json=spec, headers={"Idempotency-Key": "template"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert "idempotency-replayed" not in answers[0].headers
    assert answers[1].headers["idempotency-replayed"] == "true"


def test_a_refused_request_leaves_its_key_free(service: Service) -> None:
    headers = {"Idempotency-Key": "second-thought"}
    refused = service.http.post("/admin/locations", json={"name": ""}, headers=headers)
    assert refused.status_code == 422
    spec = {"name": "Second", "short_code": "second"}
    assert service.http.post("/admin/locations", json=spec, headers=headers).status_code == 201


def test_names_are_unique_and_the_clash_is_named(service: Service) -> None:
    spec = {"name": "Twin", "short_code": "twin"}
    assert service.http.post("/admin/locations", json=spec).status_code == 201
    clash = service.http.post("/admin/locations", json=spec)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "uniqueness_error")
    service.built("unique-name", start=False)
    spec = {"name": "unique-name", "template_id": service.ids["template"]}
    clash = service.http.post("/admin/servers", json=spec)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "uniqueness_error")


def test_overlapping_pools_are_refused(service: Service) -> None:
    spec = {
        "name": "overlap",
        "family": "ipv4",
        "first": "10.99.1.200",
        "last": "10.99.1.210",
        "prefix_length": 24,
    }
    clash = service.http.post("/admin/address-pools", json=spec)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "conflict")
    assert "lab" in clash.json()["error"]["message"]


def test_a_pool_that_is_short_is_a_placement_error_and_takes_nothing(service: Service) -> None:
    free = service.read(f"address-pools/{service.ids['pool']}")["address_pool"]["free"]
    spec = {"name": "greedy", "template_id": service.ids["template"], "addresses": {"ipv4": 1, "ipv6": 2}}
    answer = service.http.post("/admin/servers", json=spec)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "placement_error")
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == ["addresses.ipv6"]
    assert service.read(f"address-pools/{service.ids['pool']}")["address_pool"]["free"] == free


def test_lists_come_in_pages(service: Service) -> None:
    for number in range(5):
        service.create("locations", {"name": f"Page {number}", "short_code": f"page-{number}"})
    total = service.read("locations")["meta"]["pagination"]["total_entries"]
    seen = []
    page: int | None = 1
    while page:
        answer = service.read(f"locations?per_page=2&page={page}&sort=-short_code")
        seen += [location["short_code"] for location in answer["locations"]]
        page = answer["meta"]["pagination"]["next_page"]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == total
    beyond = service.read("locations?per_page=2&page=1000")
    assert beyond["locations"] == []
    assert beyond["meta"]["pagination"]["previous_page"] == beyond["meta"]["pagination"]["last_page"]


def test_servers_are_found_by_label(service: Service) -> None:
    service.built("labelled", labels={"env": "find me", "tier": "web"}, start=False)
    found = service.http.get("/admin/servers", params={"label_selector": "env=find me,tier=web"}).json()
    assert [server["name"] for server in found["servers"]] == ["labelled"]
    missed = service.http.get("/admin/servers", params={"label_selector": "env=find me,tier=db"}).json()
    assert missed["servers"] == []


def test_token_secrets_are_write_only(service: Service) -> None:
    assert "secret" not in service.http.get("/admin/nodes").text


def test_health_is_open_and_says_nothing_more(service: Service) -> None:
    base = str(service.http.base_url).replace("/api/v1/", "")
    for path in ("/healthz", "/readyz"):
        answer = plain_http.get(base + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_description_covers_every_route_and_the_page_shows_it(service: Service) -> None:
    document = plain_http.get(str(service.http.base_url) + "openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routed = {
        (operation.method, "/api/v1" + re.sub(r":\w+}", "}", operation.path)) for operation in OPERATIONS
    }
    assert described == routed
    page = plain_http.get(str(service.http.base_url) + "docs")
    assert page.headers["content-type"].startswith("text/html")
    for operation in OPERATIONS:
        assert html.escape(operation.summary) in page.text
    references = set(_references(document))
    assert references <= set(document["components"]["schemas"])


def _found_orphan(service: Service, sandbox: Sandbox) -> str:
    """The id of a VM that is marked and in no record."""
    vm = {"vmid": 5900, "name": "orphan-described", "description": f"jotunheim:server={uuid.uuid4()}"}
    sandbox.do("POST", "/nodes/pve1/qemu", **vm)
    wait_for(lambda: "lock" not in sandbox.config(5900), "the VM")
    service.done(f"nodes/{service.ids['node']}/scan")
    [found] = service.read("orphans?vmid=5900")["orphans"]
    return str(found["id"])


def test_answers_are_as_described(service: Service, sandbox: Sandbox) -> None:
    document = plain_http.get(str(service.http.base_url) + "openapi.json").json()
    created = service.create_server("described", labels={"a": "b"}, addresses={"ipv4": 1}, start=False)
    service.finished(created["job"]["id"])
    rows = {"locations": "location", "nodes": "node", "templates": "template", "address-pools": "pool"}
    ids = {what: str(service.ids[name]) for what, name in rows.items()}
    group = service.create("template-groups", {"name": "described"})["template_group"]
    ids["template-groups"] = str(group["id"])
    ids["ssh-keys"] = str(_kept_key(service))
    ids |= {"servers": created["server"]["id"], "jobs": created["job"]["id"]}
    rules = [{"direction": "in", "action": "DROP", "comment": "described"}]
    ruleset = service.create("firewall-rulesets", {"name": "described", "rules": rules})["firewall_ruleset"]
    ids["firewall-rulesets"] = str(ruleset["id"])
    ids |= {"roles": "1", "users": "1"}
    person = _logged_in(service)
    ids["sessions"] = str(person.get("/auth/session").json()["session"]["id"])
    made = person.post("/auth/tokens", json={"name": "described", "scopes": ["servers:read"]})
    ids["tokens"] = str(made.json()["token"]["id"])
    ids["audit"] = ""
    backup = service.create(f"servers/{ids['servers']}/backups", {})["backup"]["id"]
    ids |= {"backups": "", "orphans": ""}
    nightly = {"cron": "0 3 * * *"}
    schedule = service.create(f"servers/{ids['servers']}/backup-schedules", nightly)["backup_schedule"]["id"]
    orphan = _found_orphan(service, sandbox)
    receiver = {"url": "https://a.example/", "events": ["quota.reset"], "owner_id": 1}
    hook = service.create("webhooks", receiver)["webhook"]["id"]
    ids["webhooks"] = str(hook)
    told = service.ask(f"webhooks/{hook}/test")["delivery"]["id"]
    service.ask(f"webhooks/{hook}", {"enabled": False}, "PATCH")
    seen = 0
    for path, methods in document["paths"].items():
        if "get" in methods:
            asks = person if "/auth/" in path else service.http
            filled = path.replace("{id}", ids.get(path.split("/")[4], "")).replace("{address}", "10.99.1.20")
            filled = filled.replace("{backup_id}", backup).replace("{schedule_id}", str(schedule))
            filled = filled.replace("{orphan_id}", orphan)
            filled = filled.replace("{delivery_id}", str(told))
            answer = asks.get(filled.removeprefix("/api/v1"))
            assert answer.status_code == 200, answer.text
            content = methods["get"]["responses"]["200"]["content"]
            assert answer.headers["content-type"] in content, path
            if "application/json" in content:
                _validate(answer.json(), content["application/json"]["schema"], document)
            else:
                assert "attachment" in answer.headers["content-disposition"]
            seen += 1
    assert seen == len([operation for operation in OPERATIONS if operation.method == "GET"])
    service.ask(f"ssh-keys/{ids['ssh-keys']}", method="DELETE")  # new servers would get it
    posted = document["paths"]["/api/v1/admin/servers"]["post"]["responses"]["202"]
    _validate(created, posted["content"]["application/json"]["schema"], document)
    refused = service.http.post("/admin/servers", json={})
    error = document["paths"]["/api/v1/admin/servers"]["post"]["responses"]["default"]
    _validate(refused.json(), error["content"]["application/json"]["schema"], document)


def _logged_in(service: Service) -> httpx.Client:
    """A client of somebody who logged in."""
    account = {"email": "described@example.com", "password": "a-Quite-unusual-passw0rd"}
    service.create("users", {**account, "name": "Described", "role": "admin"})
    token = service.http.post("/auth/login", json=account).json()["token"]
    closes = httpx.Limits(max_keepalive_connections=0)
    return plain_http.Client(
        base_url=service.http.base_url, headers={"Authorization": f"Bearer {token}"}, limits=closes
    )


def _kept_key(service: Service) -> int:
    """Id of an SSH key that the caller keeps."""
    public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"
    id_: int = service.create("ssh-keys", {"name": "described", "public_key": public_key})["ssh_key"]["id"]
    return id_


def _validate(instance: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    jsonschema.validate(
        instance,
        {**schema, "components": document["components"]},
        cls=jsonschema.Draft202012Validator,
        format_checker=jsonschema.FormatChecker(),
    )


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else []
        return own + [found for value in part.values() for found in _references(value)]
    return [found for item in part for found in _references(item)] if isinstance(part, list) else []
