"""The audit log as it comes about: requests and commands leave entries, with nothing in them that is secret."""

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from jotunheim.repositories.peewee.audit import AuditEntry
from jotunheim.routes import api_admin, api_auth, api_client
from jotunheim.routes.trail import Subject, differences
from tests.cli.conftest import Ran, run_process
from tests.support import databases
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

OPERATIONS = [*api_admin.operations, *api_client.operations, *api_auth.operations]
DOCS = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
CANARY = "Canary-Pa55word-1x"


@pytest.fixture(scope="module")
def audited(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own, with infrastructure."""
    with Service.start(tmp_path_factory.mktemp("audited")) as started:
        started.add_infrastructure(sandbox)
        yield started


def _asked(service: Service, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, str]:
    """A request's answer, and its id."""
    id_ = f"test-{uuid.uuid4()}"
    sent = {"X-Request-ID": id_, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return service.http.request(method, f"/admin/{path}", json=body, headers=sent), id_


def _entries(service: Service, request_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.read(f"audit?request_id={request_id}")["audit_entries"]
    return found


def _entry(service: Service, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """The one entry that a request leaves."""
    answer, id_ = _asked(service, method, path, body, **headers)
    (entry,) = _entries(service, id_)
    assert entry["status"] == answer.status_code
    return entry


def _run(service: Service, *arguments: str) -> Ran:
    url = str(service.http.base_url).removesuffix("/api/v1/")
    return run_process(*arguments, **service.environment, JOTUNHEIM_URL=url, JOTUNHEIM_TOKEN=service.token)


def test_what_is_made_changed_and_deleted_is_recorded(audited: Service) -> None:
    made = _entry(audited, "POST", "locations", {"name": "One", "short_code": "one"})
    id_ = made["resource_id"]
    expected = {
        "source": "api",
        "actor_id": 1,
        "actor_email": "admin@example.com",
        "token_id": 1,
        "address": "127.0.0.1",
        "action": "location.create",
        "resource_type": "location",
        "outcome": "done",
        "status": 201,
        "message": None,
        "times": 1,
        "request": {"body": {"name": "One", "short_code": "one"}},
        "before": None,
    }
    assert {name: made[name] for name in expected} == expected
    assert made["after"]["location"]["name"] == "One"
    changed = _entry(audited, "PATCH", f"locations/{id_}", {"name": "Two"})
    assert (changed["action"], changed["resource_id"]) == ("location.change", id_)
    assert (changed["before"]["location"]["name"], changed["after"]["location"]["name"]) == ("One", "Two")
    assert changed["before"]["location"].keys() == {"name", "updated_at"}
    deleted = _entry(audited, "DELETE", f"locations/{id_}")
    assert (deleted["action"], deleted["resource_id"], deleted["after"]) == ("location.delete", id_, None)
    assert deleted["before"]["location"]["short_code"] == "one"
    about = audited.read(f"audit?resource_type=location&resource_id={id_}")["audit_entries"]
    assert about == [deleted, changed, made]


def test_what_becomes_a_job_is_recorded_with_it(audited: Service) -> None:
    made = _entry(audited, "POST", "servers", {"name": "logged", "template_id": audited.ids["template"]})
    assert made["after"]["root_password"] == "**********"
    job = made["after"]["job"]
    assert job.keys() == {"id", "type", "status"}
    audited.finished(job["id"])
    path = f"servers/{made['resource_id']}"
    power = _entry(audited, "POST", f"{path}/power", {"action": "stop"})
    assert (power["action"], power["request"]["body"]) == ("server.power", {"action": "stop"})
    assert power["before"]["server"].keys() == {"job_id"}
    assert power["after"]["server"]["job_id"] == power["after"]["job"]["id"]
    audited.finished(power["after"]["job"]["id"])
    firewall = _entry(audited, "PUT", f"{path}/firewall", {"policy_in": "DROP"})
    assert firewall["action"] == "server.firewall.set"
    assert "DROP" in json.dumps(firewall["after"])
    assert "DROP" not in json.dumps(firewall["before"])
    audited.finished(firewall["after"]["job"]["id"])
    shown = _entry(audited, "POST", f"{path}/protection?check=true", {"protected": True})
    assert (shown["outcome"], shown["request"]["query"]) == ("previewed", {"check": True})
    preview = _entry(audited, "PATCH", f"{path}?check=true", {"cpu": 2})
    assert (preview["outcome"], preview["action"]) == ("previewed", "server.change")
    audited.finished(preview["after"]["job"]["id"])
    snapshot = _entry(audited, "DELETE", f"{path}/snapshots/nothing")
    assert (snapshot["outcome"], snapshot["request"]["path"]) == ("not_found", {"name": "nothing"})


def test_what_the_service_does_by_itself_is_recorded(audited: Service) -> None:
    made = audited.create_server("short-lived", start=False, expires_in_seconds=1)
    server_id = made["server"]["id"]

    def deleted() -> list[dict[str, Any]]:
        about = f"audit?resource_type=server&resource_id={server_id}&action=server.delete"
        found: list[dict[str, Any]] = audited.read(about)["audit_entries"]
        return found

    (entry,) = wait_for(deleted, "the entry")
    assert (entry["source"], entry["actor_id"], entry["message"]) == ("worker", None, "Its time is over.")
    (job,) = audited.read(f"jobs?request_id={entry['request_id']}")["jobs"]
    audited.finished(job["id"])


def test_parts_of_a_thing_are_recorded_under_it(audited: Service) -> None:
    path = f"address-pools/{audited.ids['pool']}/addresses/10.99.1.199"
    kept = _entry(audited, "PATCH", path, {"reserved_for": "router"})
    assert (kept["action"], kept["resource_type"], kept["resource_id"]) == (
        "address.change", "address_pool", str(audited.ids["pool"]),
    )  # fmt: skip
    assert kept["request"] == {"path": {"address": "10.99.1.199"}, "body": {"reserved_for": "router"}}
    assert kept["after"]["address"]["reserved_for"] == "router"
    taken = _entry(audited, "DELETE", path)
    assert taken["before"]["address"]["reserved_for"] == "router"
    assert "address" not in taken["after"]


def test_refusals_are_recorded_with_their_reason(audited: Service) -> None:
    spec = {"name": "Refused", "short_code": "refused"}
    assert _entry(audited, "POST", "locations", spec)["outcome"] == "done"
    twice = _entry(audited, "POST", "locations", spec)
    assert (twice["outcome"], twice["status"], twice["request"]["body"]) == ("uniqueness_error", 409, spec)
    assert twice["after"] is None
    bad = _entry(audited, "POST", "locations", {"nam\x1be": "x"})
    assert (bad["outcome"], bad["status"], bad["request"]) == ("invalid_input", 422, None)
    assert bad["message"] == "Invalid input: name, short_code."  # and nothing that the caller made up
    used = _entry(audited, "DELETE", f"locations/{audited.ids['location']}")
    assert (used["outcome"], used["before"]) == ("conflict", None)
    stale = _entry(audited, "PATCH", f"locations/{audited.ids['location']}", {"name": "x"}, If_Match='"1"')
    assert (stale["outcome"], stale["status"]) == ("precondition_failed", 412)
    gone = _entry(audited, "PATCH", "locations/999", {"name": "x"})
    assert (gone["outcome"], gone["resource_id"], gone["actor_id"]) == ("not_found", "999", 1)
    large, id_ = _asked(audited, "POST", "locations", {"name": "x" * 2**20})
    assert large.status_code == 413
    assert [entry["outcome"] for entry in _entries(audited, id_)] == ["payload_too_large"]


def test_reading_leaves_an_entry_only_for_those_who_may_not(audited: Service) -> None:
    for path in ("locations", "locations/999", "audit", "servers?page=x"):
        assert _entries(audited, _asked(audited, "GET", path)[1]) == []
    _run(audited, "user", "create", "--email", "c@example.com", "--name", "C", "--role", "client")
    made = _run(
        audited,
        "token",
        "create",
        "--user",
        "c@example.com",
        "--name",
        "t",
        "--scope",
        "servers:read",
        "--json",
    ).document
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    entry = _entry(audited, "GET", "nodes", **bearer)
    assert (entry["outcome"], entry["action"], entry["actor_email"], entry["token_id"]) == (
        "forbidden", "node.list", "c@example.com", made["token"]["id"],
    )  # fmt: skip
    assert "role admin" in entry["message"]
    unknown = _entry(audited, "GET", "servers", Authorization="Bearer nonsense")
    assert (unknown["outcome"], unknown["actor_id"], unknown["address"]) == (
        "unauthorized",
        None,
        "127.0.0.1",
    )
    stream = _entry(audited, "GET", f"jobs/{uuid.uuid4()}/events", Accept="text/event-stream", **bearer)
    assert (stream["action"], stream["outcome"]) == ("event.list", "forbidden")


def test_an_answer_that_is_said_again_is_no_second_entry(audited: Service) -> None:
    spec = {"name": "Once", "short_code": "audited-once"}
    first, id_ = _asked(audited, "POST", "locations", spec, Idempotency_Key="audited")
    again, other = _asked(audited, "POST", "locations", spec, Idempotency_Key="audited")
    assert (first.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert (len(_entries(audited, id_)), _entries(audited, other)) == (1, [])
    clash = _entry(audited, "POST", "locations", {**spec, "name": "Other"}, Idempotency_Key="audited")
    assert clash["outcome"] == "conflict"


def _secret_fields(shape: type[BaseModel]) -> set[str]:
    return {name for name, field in shape.model_fields.items() if "SecretStr" in str(field.annotation)}


SECRETS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/servers"): {"password": CANARY, "name": "canary-server"},
    ("POST", "/servers/{id:uuid}/password"): {"password": CANARY},
    ("POST", "/servers/{id:uuid}/rebuild"): {"password": CANARY},
    ("POST", "/nodes"): {"token_secret": CANARY, "name": "canary", "host": "192.0.2.1"},
    ("PATCH", "/nodes/{id:row}"): {"token_secret": CANARY},
    ("POST", "/users"): {"password": CANARY, "email": "canary@example.com", "name": "C"},
    ("PATCH", "/users/{id:row}"): {"password": CANARY},
}  # fmt: skip
"""A body for each operation that takes a secret."""


def _user(service: Service, email: str, **more: Any) -> int:
    """Id of a user, who is added if need be."""
    found = service.read(f"users?email={email}")["users"]
    id_: int = (found or [service.create("users", {"email": email, "name": "U", **more})["user"]])[0]["id"]
    return id_


def _rows(service: Service) -> list[str]:
    """The audit log as it is stored, a text for each entry."""
    with sqlite3.connect(service.state / "jotunheim.db") as raw:
        rows = [json.dumps(row) for row in raw.execute("SELECT * FROM audit_entry")]
    raw.close()
    return rows


def test_no_secret_of_a_request_or_an_answer_is_kept(audited: Service, sandbox: Sandbox) -> None:
    takes = {
        (operation.method, operation.path.removeprefix("/admin").removeprefix("/client"))
        for operation in OPERATIONS
        if operation.body and _secret_fields(operation.body) and not operation.path.startswith("/auth")
    }
    assert takes == SECRETS.keys()
    generated = audited.create_server("canary-target")
    audited.finished(generated["job"]["id"])
    for (method, path), body in SECRETS.items():
        row = audited.ids["node"] if "nodes" in path else _user(audited, "canary-2@example.com")
        where = path.replace("{id:row}", str(row))
        where = where.replace("{id:uuid}", generated["server"]["id"]).lstrip("/")
        others = {"/servers": {"template_id": audited.ids["template"]},
                  "/nodes": {**audited.node_spec(sandbox), "labels": {}}}  # fmt: skip
        complete = {**others.get(path, {}), **body}
        (field,) = {"password", "token_secret"} & body.keys()
        for wrong in ({**complete, field: [CANARY]}, {**complete, "surprise": CANARY}):
            assert _asked(audited, method, where, wrong)[0].status_code == 422
        entry = _entry(audited, method, where, complete)
        assert entry["outcome"] == "done", (where, entry["message"])
        assert entry["request"]["body"][field] == "**********"
        job = entry["after"].get("job")
        if job:
            audited.finished(job["id"])
    audited.ask(f"nodes/{audited.ids['node']}", {"token_secret": sandbox.token_secret}, "PATCH")
    kept = _rows(audited)
    assert len(kept) > 20
    for secret in (CANARY, generated["root_password"], audited.token[4:], sandbox.token_secret):
        assert not [row for row in kept if secret in row or json.dumps(json.dumps(secret)[1:-1])[1:-1] in row]


def test_logins_and_what_people_do_about_themselves_are_recorded(audited: Service) -> None:
    password, other = "correct-horse-battery-7", "wrong-horse-battery-8"
    user_id = _user(audited, "person@example.com", password=password)
    secrets = {password, other}

    def ask(method: str, path: str, body: Any, status: int) -> tuple[Any, dict[str, Any]]:
        id_ = f"person-{uuid.uuid4()}"
        answer = person.request(method, f"/auth/{path}", json=body, headers={"X-Request-ID": id_})
        assert answer.status_code == status, answer.text
        (entry,) = _entries(audited, id_)
        return answer.json(), entry

    with httpx.Client(base_url=audited.http.base_url, timeout=30) as person:
        _, refused = ask("POST", "login", {"email": "person@example.com", "password": other}, 401)
        assert (refused["action"], refused["outcome"], refused["actor_id"]) == ("login", "unauthorized", None)
        assert refused["request"]["body"] == {"email": "person@example.com", "password": "**********"}
        told, login = ask("POST", "login", {"email": "person@example.com", "password": password}, 200)
        assert (login["action"], login["outcome"], login["actor_email"]) == (
            "login",
            "done",
            "person@example.com",
        )
        assert (login["resource_type"], login["resource_id"]) == ("user", str(user_id))
        secrets |= {told["token"], told["csrf_token"]}
        person.headers["Authorization"] = f"Bearer {told['token']}"
        person.cookies.clear()
        setup, entry = ask("POST", "2fa/setup", {"current_password": password}, 200)
        assert (entry["action"], entry["actor_id"], entry["resource_id"]) == (
            "2fa.setup",
            user_id,
            str(user_id),
        )
        assert entry["session_id"]
        secrets |= {setup["second_factor"]["secret"], setup["second_factor"]["uri"]}
        _, entry = ask("POST", "2fa/verify", {"code": "000000"}, 422)
        _, entry = ask("PATCH", "user", {"name": "New"}, 200)
        assert (entry["before"]["user"]["name"], entry["after"]["user"]["name"]) == ("U", "New")
        made, entry = ask("POST", "tokens", {"name": "t", "scopes": ["servers:read"]}, 201)
        assert (entry["resource_type"], entry["resource_id"]) == ("token", str(made["token"]["id"]))
        secrets.add(made["secret"])
        _, entry = ask("DELETE", f"tokens/{made['token']['id']}", None, 200)
        assert entry["before"]["token"] == {"revoked_at": None}
        _, entry = ask("POST", "logout", None, 200)
        assert (entry["action"], entry["outcome"], entry["actor_id"]) == ("logout", "done", user_id)
        ticket = audited.http.post("/auth/sso", json={"user_id": user_id}).json()["ticket"]
        del person.headers["Authorization"]
        told, entry = ask("POST", "sso/login", {"ticket": ticket}, 200)
        assert (entry["action"], entry["actor_email"]) == ("sso.login", "person@example.com")
        secrets |= {ticket, told["token"]}
    kept = _rows(audited)
    assert not [secret for secret in secrets if any(secret in row for row in kept)]


def test_hostile_input_is_kept_small_and_as_it_is(audited: Service) -> None:
    evil = "{{ lookup('pipe', 'touch /tmp/jotunheim-audit-owned') }}"
    server = audited.create_server("hostile", labels={"evil": evil})
    job = audited.finished(server["job"]["id"])
    (entry,) = _entries(audited, job["request_id"])
    assert entry["request"]["body"]["labels"] == {"evil": evil}
    assert not Path("/tmp/jotunheim-audit-owned").exists()
    keys = [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB {'c' * n}"
            for n in range(9000, 9050)]  # fmt: skip
    path = f"servers/{server['server']['id']}"
    large = _entry(audited, "PATCH", path, {"description": evil + "\n" + "x" * 4000})
    assert large["outcome"] == "done"
    assert large["after"]["server"]["description"].startswith(evil)
    assert large["after"]["server"]["description"].endswith(f"x… ({len(evil) + 4001} characters)")
    audited.finished(large["after"]["job"]["id"])
    spec = {"name": "hostile", "template_id": audited.ids["template"], "ssh_keys": keys}
    assert _entry(audited, "POST", "servers", spec)["outcome"] == "uniqueness_error"
    answer, _ = _asked(audited, "POST", "locations", {f"field-{number}" * 9: 1 for number in range(9000)})
    assert answer.status_code == 422
    with sqlite3.connect(audited.state / "jotunheim.db") as raw:
        longest = raw.execute(
            "SELECT max(length(coalesce(request, '') || coalesce(before, '') || coalesce(after, '') ||"
            " coalesce(message, ''))) FROM audit_entry"
        ).fetchone()
    raw.close()
    assert longest[0] <= 16 * 1024


def test_every_operation_that_changes_something_leaves_one_entry(audited: Service) -> None:
    ids = {"id:row": "999999", "id:uuid": str(uuid.uuid4()), "name:str": "none", "address:path": "192.0.2.9"}
    changing = [operation for operation in OPERATIONS if operation.method != "GET"]
    assert len(changing) > 50
    for operation in changing:
        path = operation.path
        for parameter, value in ids.items():
            path = path.replace(f"{{{parameter}}}", value)
        assert "{" not in path
        id_ = f"walk-{uuid.uuid4()}"
        answer = audited.http.request(operation.method, path, json={}, headers={"X-Request-ID": id_})
        (entry,) = _entries(audited, id_)
        assert entry["action"] == Subject.of(operation.method, operation.path).action
        assert entry["status"] == answer.status_code
        assert entry["outcome"] == (answer.json()["error"]["code"] if answer.is_error else "done")


def test_every_action_is_documented() -> None:
    actions = {Subject.of(operation.method, operation.path).action for operation in OPERATIONS
               if operation.method != "GET"}  # fmt: skip
    assert {action for action in actions if f"`{action}`" not in DOCS} == set()


def test_a_change_whose_entry_cannot_be_written_is_not_made(fresh_service: Service) -> None:
    with sqlite3.connect(fresh_service.state / "jotunheim.db") as raw:
        raw.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entry BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    raw.close()
    answer = fresh_service.http.post("/admin/locations", json={"name": "L", "short_code": "l"})
    assert answer.status_code == 500
    assert fresh_service.read("locations")["locations"] == []
    assert (
        fresh_service.http.patch("/admin/locations/9", json={"name": "L"}).status_code == 404
    )  # a refusal stands


def test_outsiders_cannot_fill_the_log(tmp_path: Path) -> None:
    with Service.start(tmp_path / "state", worker=False) as service:
        url = str(service.http.base_url) + "admin/servers"
        with httpx.Client() as client:
            assert {client.post(url, content=b"x" * 9000).status_code for _ in range(200)} == {401}
        found = service.read("audit?outcome=unauthorized&limit=200")["audit_entries"]
        assert len(found) == 10
        environment = dict(service.environment)
    process = run_process("audit", "verify", "--json", **environment)
    assert process.document["entries"] == 12  # `init`, ten, and one that stands for all others
    with sqlite3.connect(tmp_path / "state" / "jotunheim.db") as raw:
        last = raw.execute("SELECT action, times, address FROM audit_entry ORDER BY id DESC").fetchone()
    raw.close()
    assert last == ("refusals", 190, "127.0.0.1")


def _written_at_once(service: Service) -> dict[str, Any]:
    """Let twenty write at once; returns what `audit verify` says then."""
    barrier = threading.Barrier(20)

    def write(number: int) -> set[int]:
        barrier.wait()
        spec = {"name": f"At once {number}", "short_code": f"at-once-{number}"}
        id_ = service.create("locations", spec)["location"]["id"]
        path = f"/admin/locations/{id_}"
        answers = [
            service.http.patch(path, json={"name": "Changed"}),
            service.http.patch(f"/admin/locations/{service.ids['location']}", json={"name": f"By {number}"}),
            service.http.post("/admin/locations", json=spec),
            service.http.delete(path),
        ]
        return {answer.status_code for answer in answers}

    with ThreadPoolExecutor(20) as pool:
        assert set.union(*pool.map(write, range(20))) == {200, 409}
    document = _run(service, "audit", "verify", "--json").document
    assert document["ok"] is True
    assert document["entries"] >= 100
    return document


def test_the_chain_is_whole_after_twenty_writers_at_once(audited: Service) -> None:
    before = _written_at_once(audited)
    assert _run(audited, "audit", "verify", "--expect", before["last_hash"]).status == 0
    named = audited.read(f"audit?resource_type=location&resource_id={audited.ids['location']}&limit=200")
    chain = [
        (entry["before"]["location"]["name"], entry["after"]["location"]["name"])
        for entry in reversed(named["audit_entries"])
        if entry["action"] == "location.change" and entry["outcome"] == "done"
    ]
    assert len(chain) == 20
    assert [was for was, _ in chain[1:]] == [became for _, became in chain[:-1]]


def test_the_same_holds_on_postgresql(
    sandbox: Sandbox, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with databases.postgresql(tmp_path_factory.mktemp("postgresql")) as server:
        settings = {"JOTUNHEIM_DATABASE_URL": server.url}
        with Service.start(tmp_path / "state", settings=settings, worker=False) as service:
            service.add_infrastructure(sandbox)
            _written_at_once(service)
            named = service.read(
                f"audit?resource_type=location&resource_id={service.ids['location']}&limit=200"
            )
            chain = [
                (entry["before"]["location"]["name"], entry["after"]["location"]["name"])
                for entry in reversed(named["audit_entries"])
                if entry["action"] == "location.change"
            ]
            assert len(chain) == 20
            assert [was for was, _ in chain[1:]] == [became for _, became in chain[:-1]]


def test_the_log_is_listed_and_verified_on_the_command_line(audited: Service) -> None:
    _entry(audited, "POST", "locations", {"name": "Shown", "short_code": "shown"})
    listed = _run(audited, "audit", "list", "--action", "location.create", "--limit", "1", "--json").document
    assert [entry["after"]["location"]["short_code"] for entry in listed["audit_entries"]] == ["shown"]
    for number in range(200):
        audited.refused(f"locations/{9000 + number}", method="DELETE")
    everything = _run(audited, "audit", "list", "--json").document["audit_entries"]
    assert [entry["id"] for entry in everything] == list(range(len(everything), 0, -1))
    assert len(everything) > 200  # more than one answer has
    assert everything[-1]["action"] == "init"
    filters = ("--actor", "admin@example.com", "--resource-type", "location", "--outcome", "done")
    table = _run(audited, "audit", "list", *filters, "--since", "1h", "--limit", "3")
    assert table.status == 0
    assert "location.create" in table.out
    assert _run(audited, "audit", "list", "--until", "2020-01-01", "--json").document == {"audit_entries": []}
    assert _run(audited, "audit", "list", "--since", "yesterday").status == 2
    verified = _run(audited, "audit", "verify")
    assert verified.status == 0
    assert f"{len(everything)} entries" in verified.out
    refused = _run(audited, "audit", "verify", "--expect", "0" * 63 + "1", "--json")
    assert (refused.status, refused.document["ok"], refused.document["error"]["code"]) == (
        1,
        False,
        "audit_problems",
    )


def test_tampering_makes_verify_fail(fresh_service: Service) -> None:
    fresh_service.create("locations", {"name": "L", "short_code": "l"})
    with sqlite3.connect(fresh_service.state / "jotunheim.db") as raw:
        raw.execute("DROP TRIGGER audit_entry_unchanged")
        raw.execute("UPDATE audit_entry SET actor_email = 'mallory@example.com' WHERE id = 2")
    raw.close()
    ran = _run(fresh_service, "audit", "verify", "--json")
    assert (ran.status, ran.document["wrong_id"]) == (1, 2)
    assert "Entry 2 was changed" in ran.err


def test_commands_on_the_services_machine_are_recorded(fresh_service: Service) -> None:
    _run(fresh_service, "user", "create", "--email", "u@example.com", "--name", "U", "--role", "client")
    made = _run(
        fresh_service, "token", "create", "--user", "u@example.com", "--name", "t", "--scope", "*", "--json"
    ).document
    _run(fresh_service, "token", "revoke", str(made["token"]["id"]))
    _run(fresh_service, "user", "disable", "u@example.com")
    assert _run(fresh_service, "user", "disable", "nobody@example.com").status == 1
    found = fresh_service.read("audit")["audit_entries"]
    assert [entry["action"] for entry in found] == [
        "user.disable", "token.revoke", "token.create", "user.create", "init",
    ]  # fmt: skip
    for entry in found:
        assert (entry["source"], entry["actor_id"], entry["address"], entry["status"]) == (
            "cli",
            None,
            None,
            None,
        )
        assert entry["request"]["os_user"]
    assert found[2]["after"]["token"]["name"] == "t"
    assert made["secret"] not in json.dumps(found)


def test_the_log_needs_its_scope(fresh_service: Service) -> None:
    made = _run(
        fresh_service, "token", "create", "--user", "admin@example.com", "--name", "t",
        "--scope", "audit:read", "--json",
    ).document  # fmt: skip
    may = {"Authorization": f"Bearer {made['secret']}"}
    assert fresh_service.http.get("/admin/audit", headers=may).status_code == 200
    assert fresh_service.http.get("/admin/nodes", headers=may).status_code == 403
    wrong = fresh_service.http.get("/admin/audit?since=2026-01-01&limit=0&cursor=x")
    assert {detail["field"] for detail in wrong.json()["error"]["details"]} == {"since", "limit", "cursor"}


def test_old_entries_go_by_themselves(tmp_path: Path) -> None:
    with Service.start(
        tmp_path / "state",
        worker=False,
        settings={"JOTUNHEIM_AUDIT_DAYS": "1", "JOTUNHEIM_SWEEP_SECONDS": "0.05"},
    ) as service:
        service.create("locations", {"name": "L", "short_code": "l"})
        _age_all(service.state / "jotunheim.db")
        service.start_worker()
        deadline = threading.Event()
        for _ in range(100):
            found = service.read("audit")["audit_entries"]
            if [entry["action"] for entry in found] == ["audit.prune"]:
                break
            deadline.wait(0.2)
        (entry,) = found
        assert (entry["source"], entry["after"]["entries"], entry["id"]) == ("worker", 2, 3)
        service.create("locations", {"name": "M", "short_code": "m"})
        assert _run(service, "audit", "verify", "--json").document["first_id"] == 3


def _age_all(file: Path) -> None:
    """Make the whole log three days older, hashes and all."""
    with sqlite3.connect(file, timeout=30) as raw:
        raw.row_factory = sqlite3.Row
        raw.execute("DROP TRIGGER audit_entry_unchanged")
        last = "0" * 64
        for row in raw.execute("SELECT * FROM audit_entry ORDER BY id").fetchall():
            columns = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row is no dict
            entry = AuditEntry(**columns)
            entry.at = AuditEntry.at.python_value(columns["at"] - 3 * 86_400 * 10**6)
            entry.previous_hash = last
            last = entry.digest()
            raw.execute(
                "UPDATE audit_entry SET at = ?, previous_hash = ?, hash = ? WHERE id = ?",
                (AuditEntry.at.db_value(entry.at), entry.previous_hash, last, entry.id),
            )
    raw.close()


def test_differences_are_the_fields_that_differ() -> None:
    assert differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}) == (
        {"a": {"c": 2}, "d": 3},
        {"a": {"c": 4}, "e": 5},
    )
