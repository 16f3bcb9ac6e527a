"""Somebody else's things do not exist, and clients are no operators: asked of every route that the application has.

A route that is not covered fails: one below an unknown prefix, one with a resource of a kind that is not
made here, one whose body has no example, or a list with a filter that has none.
"""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.routes import api_admin, api_auth, api_client
from jotunheim.routes.call import CheckQuery, JobQuery, ListQuery
from jotunheim.routes.openapi import PREFIX
from jotunheim.routes.operation import Operation
from jotunheim.services.servers import live
from tests.routes.test_lists import entries_of
from tests.support import plain_http
from tests.support.in_process import InProcess, tables
from tests.support.statements import statements
from tests.support.world import ABSENT_ROW, ABSENT_UUID, MARK, OWNER, STRANGER, World

PUBLIC = {"/healthz", "/readyz", f"{PREFIX}/openapi.json", f"{PREFIX}/docs"}
"""What answers without a token."""
WALKED: dict[str, list[Operation]] = {
    "/admin/": api_admin.operations,
    "/client/": api_client.operations,
    "/auth/": api_auth.operations,
}
"""The API modules by their prefixes. One that is missing here needs tests of its own kind as well."""
SHARED = {"/client/firewall-rulesets/{id:row}"}
"""What all clients see: it is the operator's, and nothing in it is anybody's."""
OWNED_TABLES = (
    "server",
    "job",
    "ssh_key",
    "plan",
    "server_label",
    "job_event",
    "job_step",
    "pve_task",
    "job_run",
    "backup",
    "backup_schedule",
    "webhook",
    "webhook_delivery",
    "webhook_attempt",
    "webhook_event",
    "traffic_meter",
    "traffic_period",
    "traffic_history",
    "traffic_threshold",
    "drift",
)
"""Tables whose rows belong to somebody, or to a row that does."""
HOW_MANY_WAIT = 'SELECT COUNT(1) FROM (SELECT 1 FROM "job" AS "t1" WHERE (("t1"."status" = ?) AND ("t1"."run_after" IS NULL)))'
"""The one statement about everybody's: whether the queue is full."""
NOTED = ("token", "session", "queue", "sqlite_sequence", "audit_entry", "audit_chain")
"""Tables that change whatever is asked: when a token was last used, and that somebody was refused."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"

BODIES: dict[str, Any] = {
    "PowerRequest": {"action": "start"},
    "PasswordRequest": {},
    "RebuildRequest": {},
    "SnapshotSpec": {"name": "snap"},
    "Firewall": {},
    "IsoRequest": {"name": "a.iso"},
    "KeysRequest": {"ssh_keys": []},
    "CancelRequest": {},
    "ClientBackupSpec": {},
    "ClientScheduleSpec": {"cron": "0 3 * * *"},
    "ClientScheduleChange": {"enabled": False},
    "RestoreRequest": {},
    "SshKeySpec": {"name": MARK, "public_key": KEY},
    "SshKeyChange": {"name": "renamed"},
    "ClientWebhookSpec": {"url": "https://a.example/", "description": MARK},
    "ClientWebhookChange": {"description": "renamed"},
    "SecretRotation": {},
    "ReplayRequest": {"since": "2026-01-01T00:00:00Z"},
}
"""For each shape of a client's body one that is right."""


def identify(operation: Operation) -> str:
    """An operation's name in a report."""
    return f"{operation.method} {operation.path}"


each_client_route = pytest.mark.parametrize("operation", api_client.operations, ids=identify)
each_admin_route = pytest.mark.parametrize("operation", api_admin.operations, ids=identify)
WITH_RESOURCE = [one for one in api_client.operations if "{" in one.path and one.path not in SHARED]
each_resource = pytest.mark.parametrize("operation", WITH_RESOURCE, ids=identify)
LISTS = [
    one
    for one in api_client.operations
    if one.method == "GET" and "{" not in one.path and entries_of(one.answer)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service whose only node answers nobody, and two clients."""
    with InProcess.start(tmp_path_factory.mktemp("tenancy"), owner_queue_limit=10_000) as service:
        yield World.made(service, host="127.0.0.1", port=1, token_id="root@pam!tenancy", secret="s")


def somewhere(path: str) -> str:
    """A path with something in place of its parameters."""
    for parameter, value in (
        ("{id:row}", "1"),
        ("{id:uuid}", ABSENT_UUID),
        ("{backup_id:uuid}", ABSENT_UUID),
        ("{orphan_id:uuid}", ABSENT_UUID),
        ("{schedule_id:row}", "1"),
        ("{delivery_id:row}", "1"),
        ("{name:str}", "x"),
        ("{address:path}", "10.0.0.1"),
    ):
        path = path.replace(parameter, value)
    assert "{" not in path, f"{path} has a parameter that has no value here"
    return path


def body_of(operation: Operation) -> Any:
    """A right body for an operation; None: it takes none."""
    if operation.body is None:
        return None
    name = operation.body.__name__
    assert name in BODIES, f"{identify(operation)} has a body without an example: add {name} to BODIES"
    return BODIES[name]


def shown(answer: httpx.Response, *ids: str) -> tuple[int, str, dict[str, str]]:
    """All of an answer that can tell something, with these ids made one."""
    text = answer.text
    for id_ in sorted(ids, key=len, reverse=True):  # one may be a part of another
        text = text.replace(id_, "ID")
    headers = {
        name: value for name, value in answer.headers.items() if name not in ("date", "content-length")
    }
    return answer.status_code, text, headers


def variants(operation: Operation, world: World, path: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Other ways to ask the same: method, what follows the path, headers."""
    yield operation.method, "", {}
    yield operation.method, "", {"If-Match": '"1"'}
    if operation.method == "GET":
        yield "HEAD", "", {}
        yield "GET", "", {"Accept": "text/event-stream", "Last-Event-ID": "0"}
    if operation.method == "POST":
        yield "POST", "", {"Idempotency-Key": f"key {path}"}
    if issubclass(operation.query, CheckQuery):
        yield operation.method, "?check=true", {}
    if issubclass(operation.query, JobQuery):
        preview = world.preview(world.server(OWNER), str(operation.job_type))
        yield operation.method, f"?plan={preview.id}", {}
    if issubclass(operation.query, ListQuery):
        yield "GET", "?per_page=200&page=1", {}


def test_every_route_of_the_application_is_walked(world: World) -> None:
    routed = set()
    for route in world.service.app.routes:
        assert isinstance(route, Route), f"{route} is no plain route: say here who may have it"
        if route.path in PUBLIC:
            continue
        path = route.path.removeprefix(PREFIX)
        prefix = next((prefix for prefix in WALKED if path.startswith(prefix)), None)
        assert prefix, (
            f"{route.path} is below no prefix in WALKED, and not PUBLIC: add its module, and who may ask it"
        )
        routed |= {(method, path) for method in (route.methods or ()) if method != "HEAD"}
    assert routed == {(one.method, one.path) for operations in WALKED.values() for one in operations}
    assert all(one.path.startswith(prefix) for prefix, operations in WALKED.items() for one in operations)


def test_public_routes_are_the_documented_ones(world: World) -> None:
    base = world.service.url.removesuffix(PREFIX)
    for path in PUBLIC:
        assert plain_http.get(base + path).status_code == 200
    for prefix, operations in WALKED.items():
        for one in operations:
            if one.access.public:
                continue
            path = somewhere(one.path)
            for method in {one.method, "HEAD" if one.method == "GET" else one.method}:
                assert world.service.ask(method, path, None).status_code == 401, (prefix, path)


@each_resource
def test_what_is_somebody_elses_does_not_exist(world: World, operation: Operation) -> None:
    theirs, absent = world.path(operation, OWNER)
    body = body_of(operation)
    ids = (theirs.split("/")[3], absent.split("/")[3])
    for method, query, headers in variants(operation, world, theirs):
        before = tables(*NOTED)
        answers = [
            world.ask(STRANGER, method, path + query, body=body, headers=headers) for path in (theirs, absent)
        ]
        assert answers[0].status_code == 404, (method, query, headers, answers[0].text)
        assert shown(answers[0], *ids) == shown(answers[1], *ids), (method, query, headers)
        assert method == "HEAD" or answers[0].json()["error"]["code"] == "not_found"
        assert tables(*NOTED) == before, (method, query, headers)


@each_resource
def test_its_owner_gets_past_that(world: World, operation: Operation) -> None:
    """Else the answer 404 would say nothing."""
    mine, _ = world.path(operation, OWNER)
    answer = world.ask(OWNER, operation.method, mine, body=body_of(operation))
    assert answer.status_code != 404, answer.text


@each_resource
def test_a_strangers_statements_carry_the_stranger(world: World, operation: Operation) -> None:
    theirs, _ = world.path(operation, OWNER)
    body = body_of(operation)
    for method, query, headers in variants(operation, world, theirs):
        with statements() as seen:
            world.ask(STRANGER, method, theirs + query, body=body, headers=headers)
        owned = [one for one in seen if _reads_owned(one[0])]
        assert owned
        for sql, parameters in owned:
            assert STRANGER in parameters, sql
            assert re.search(r'"(owner_id|user_id)" = \?', sql), sql


@pytest.mark.parametrize("operation", LISTS, ids=identify)
def test_a_lists_statements_carry_who_asks(world: World, operation: Operation) -> None:
    """All that do not ask for what belongs to a row that was found so."""
    world.job(world.server(STRANGER))
    world.key(STRANGER)
    with statements() as seen:
        assert world.ask(STRANGER, "GET", operation.path).status_code == 200
    owned = [one for one in seen if _reads_owned(one[0])]
    mine = {str(row.id) for row in (*Server.select(), *Job.select()) if row.owner_id == STRANGER}
    for sql, parameters in owned:
        named = {str(uuid.UUID(str(value))) for value in parameters if _is_uuid(value)}
        assert STRANGER in parameters or (named and named <= mine), sql


def _is_uuid(value: Any) -> bool:
    return isinstance(value, uuid.UUID) or bool(re.fullmatch("[0-9a-f]{32}", str(value)))


def _reads_owned(sql: str) -> bool:
    if sql.startswith(HOW_MANY_WAIT):
        return False
    table = re.search(r'(?:FROM|UPDATE|INTO) "(\w+)"', sql)
    return table is not None and table[1] in OWNED_TABLES


@pytest.mark.parametrize("operation", LISTS, ids=identify)
def test_a_list_shows_what_is_ones_own(world: World, operation: Operation) -> None:
    name = entries_of(operation.answer)
    assert name
    if operation.path + "/{id:row}" in SHARED:
        assert world.ask(STRANGER, "GET", operation.path).text == world.ask(OWNER, "GET", operation.path).text
        return
    theirs = world.server(OWNER)
    job, key, webhook = world.job(theirs), world.key(OWNER), world.webhook(OWNER)
    my_job, my_key = world.job(world.server(STRANGER)), world.key(STRANGER)
    my_webhook = world.webhook(STRANGER)
    ids = {str(theirs.id), str(job.id)}
    ids |= {str(webhook.id)} if operation.path.endswith("/webhooks") else {str(key.id)}
    mine = world.ask(STRANGER, "GET", f"{operation.path}?per_page=200")
    assert MARK not in mine.text
    listed = {str(entry["id"]) for entry in mine.json()[name]}
    assert not listed & ids
    assert listed & {str(my_job.server_id), str(my_job.id), str(my_key.id), str(my_webhook.id)}
    assert mine.json()["meta"]["pagination"]["total_entries"] == len(listed)
    values = {
        "name": (theirs.name, key.name),
        "fingerprint": (key.fingerprint,),
        "label_selector": (f"owned={MARK}",),
        "server_id": (theirs.id,),
        "request_id": (MARK,),
    }
    of_everybody = {
        "status",
        "power",
        "suspended",
        "protected",
        "template_id",
        "type",
        "check",
        "os_family",
        "enabled",
    }
    for field in operation.query.model_fields.keys() - ListQuery.model_fields.keys() - of_everybody:
        assert field in values, (
            f"{operation.path} has a filter without an example of the owner's: add {field} to values"
        )
        for value in values[field]:
            found = world.ask(STRANGER, "GET", f"{operation.path}?{field}={value}")
            assert (found.status_code, found.json()[name]) == (200, []), field
            assert found.json()["meta"]["pagination"]["total_entries"] == 0
    for query in (
        f"owner_id={OWNER}",
        f"user_id={OWNER}",
        "mine=false",
        "sort=owner_id",
        "sort=owner.email",
        "sort=-vmid",
    ):
        assert world.ask(STRANGER, "GET", f"{operation.path}?{query}").status_code == 422, query


@each_resource
def test_a_plan_of_somebody_elses_is_no_plan(world: World, operation: Operation) -> None:
    if not issubclass(operation.query, JobQuery):
        assert operation.job_type is None
        return
    mine, _ = world.path(operation, STRANGER)
    plan = str(world.preview(world.server(OWNER), str(operation.job_type)).id)
    before = tables(*NOTED)
    answers = [world.ask(STRANGER, operation.method, f"{mine}?plan={id_}") for id_ in (plan, ABSENT_UUID)]
    assert answers[0].status_code == 404
    assert shown(answers[0], plan) == shown(answers[1], ABSENT_UUID)
    assert tables(*NOTED) == before


@pytest.mark.parametrize(("method", "suffix"), [("PUT", "ssh-keys"), ("POST", "rebuild")])
def test_keys_of_others_cannot_be_named(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str, suffix: str
) -> None:
    monkeypatch.setattr(live, "snapshots", lambda *_: [])
    server, theirs = world.server(STRANGER), world.key(OWNER).id
    path = f"/client/servers/{server.id}/{suffix}?check=true"
    for id_ in (theirs, int(ABSENT_ROW)):
        answer = world.ask(STRANGER, method, path, body={"ssh_key_ids": [id_]})
        assert answer.status_code == 422
        assert answer.json()["error"]["details"] == [
            {"field": "ssh_key_ids.0", "message": f"there is no key {id_}"}
        ]
    answer = world.ask(STRANGER, method, path, body={"ssh_key_ids": [world.key(STRANGER).id]})
    assert answer.status_code == 202, answer.text


def test_an_idempotency_key_is_its_users_own(world: World) -> None:
    headers = {"Idempotency-Key": "the same"}
    body = {"name": "one key", "public_key": KEY}
    answers = [
        world.ask(user, "POST", "/client/ssh-keys", body=body, headers=headers) for user in world.tokens
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert all("idempotency-replayed" not in answer.headers for answer in answers)
    assert answers[0].json()["ssh_key"]["id"] != answers[1].json()["ssh_key"]["id"]


def test_a_stream_of_events_asks_each_time_whose_they_are(world: World) -> None:
    job = world.job(world.server(OWNER))
    with statements() as seen:
        answer = world.ask(
            OWNER, "GET", f"/client/jobs/{job.id}/events", headers={"Accept": "text/event-stream"}
        )
    assert "event: job.queued" in answer.text
    asked = [parameters for sql, parameters in seen if 'FROM "job" ' in sql]
    assert len(asked) > 1
    assert all(OWNER in parameters for parameters in asked)


@each_admin_route
def test_clients_are_no_operators(world: World, operation: Operation) -> None:
    server = world.server(OWNER)
    ids = {
        "servers": str(server.id),
        "jobs": str(world.job(server).id),
        "ssh-keys": str(world.key(OWNER).id),
    }
    kind = operation.path.split("/")[2]
    answers = []
    before = tables(*NOTED)
    for id_ in (ids.get(kind, "1"), ABSENT_UUID if "{id:uuid}" in operation.path else ABSENT_ROW):
        path = somewhere(re.sub(r"{id:\w+}", id_, operation.path))
        for method in {operation.method, "HEAD" if operation.method == "GET" else operation.method}:
            for query in ("", "?check=true", f"?plan={ABSENT_UUID}", "?nonsense=1"):
                answers += [world.ask(OWNER, method, path + query, body={"nonsense": 1})]
        answers += [world.ask(OWNER, operation.method, path, headers={"Accept": "text/event-stream"})]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers if answer.text}) == 1  # it depends on nothing else
    assert "forbidden" in {answer.json()["error"]["code"] for answer in answers if answer.text}
    assert tables(*NOTED) == before


@pytest.mark.parametrize("path", sorted({one.path for operations in WALKED.values() for one in operations}))
def test_a_method_that_is_not_routed_is_answered_alike_to_everybody(world: World, path: str) -> None:
    """Which methods there are stands in the OpenAPI document; whether there is such a thing does not show."""
    filled = somewhere(path)
    tokens = [None, world.tokens[OWNER], world.service.token]
    answers = [world.service.ask("OPTIONS", filled, token) for token in tokens]
    assert {answer.status_code for answer in answers} == {405}
    assert len({str(shown(answer)) for answer in answers}) == 1


@each_client_route
def test_every_client_route_needs_a_scope(world: World, operation: Operation) -> None:
    assert operation.access.scope in ("servers:read", "servers:write", "webhooks:read", "webhooks:write")
    assert world.service.ask(operation.method, somewhere(operation.path), world.narrow).status_code == 403


@pytest.mark.parametrize("operation", [one for one in api_auth.operations if "{" in one.path], ids=identify)
def test_sessions_and_tokens_of_others_do_not_exist(world: World, operation: Operation) -> None:
    theirs, absent = world.path(operation, OWNER)
    ids = (theirs.split("/")[3], absent.split("/")[3])
    session = world.session(STRANGER)
    before = tables("sqlite_sequence", "audit_entry", "audit_chain")
    with statements() as seen:
        answers = [world.service.ask(operation.method, path, session) for path in (theirs, absent)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert shown(answers[0], *ids) == shown(answers[1], *ids)
    assert tables("sqlite_sequence", "audit_entry", "audit_chain") == before
    kind = theirs.split("/")[2].removesuffix("s")
    asked = [
        (sql, parameters)
        for sql, parameters in seen
        if re.search('"id" = \\?.*', sql) and f'FROM "{kind}"' in sql
    ]
    assert asked
    assert all(STRANGER in parameters and '"user_id" = ?' in sql for sql, parameters in asked)
    assert world.service.ask(operation.method, theirs, world.session(OWNER)).status_code == 200


@pytest.mark.parametrize("operation", [one for one in api_auth.operations if one.access.person], ids=identify)
def test_no_token_is_a_person(world: World, operation: Operation) -> None:
    for token in (world.tokens[OWNER], world.service.token):
        assert world.service.ask(operation.method, somewhere(operation.path), token).status_code == 403


def test_whoever_gets_the_id_of_a_deleted_user_gets_nothing_else_of_theirs(world: World) -> None:
    user_id = int(world.id_of_new("users", OWNER))
    server = world.server(user_id)
    job = world.job(server)
    server.delete_instance()
    gone = world.service.ask("DELETE", f"/admin/users/{user_id}", world.service.token)
    assert gone.status_code == 200, gone.text
    token = world.service.user("next@example.com", "client", "*", id=user_id)[1]  # as SQLite may do
    assert world.service.ask("GET", "/client/jobs", token).json()["jobs"] == []
    assert world.service.ask("GET", f"/client/jobs/{job.id}", token).status_code == 404
    assert world.service.ask("GET", f"/admin/jobs/{job.id}", world.service.token).status_code == 200
