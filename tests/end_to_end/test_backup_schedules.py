"""Schedules: backups that are due are made once, in turn, and those that need not be kept are removed."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.cli.conftest import Run, remote
from tests.cli.conftest import run as run  # a fixture
from tests.end_to_end.test_backups import listed, made
from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture(scope="module")
def service(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own."""
    with Service.start(tmp_path_factory.mktemp("schedules")) as started:
        started.add_infrastructure(sandbox)
        yield started


def scheduled(service: Service, server: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A new schedule, for some time in the night of a day far away unless told otherwise."""
    asked = {"cron": "0 3 1 1 *", **spec}
    made: dict[str, Any] = service.create(f"servers/{server['id']}/backup-schedules", asked)[
        "backup_schedule"
    ]
    return made


def make_due(service: Service, *schedules: dict[str, Any], ago_seconds: int = 3600) -> None:
    """Let the next backups of schedules be due since a while."""
    at = int((time.time() - ago_seconds) * 1_000_000)
    with closing(sqlite3.connect(service.state / "jotunheim.db", timeout=30)) as raw, raw:
        for schedule in schedules:
            raw.execute("UPDATE backup_schedule SET next_run_at = ? WHERE id = ?", (at, schedule["id"]))


def backups(service: Service, server: dict[str, Any]) -> list[dict[str, Any]]:
    """A server's backups, the newest first."""
    found: list[dict[str, Any]] = service.read(f"servers/{server['id']}/backups")["backups"]
    return found


def settled(service: Service, server: dict[str, Any]) -> bool:
    """Whether no job works on a server."""
    return service.server(server["id"])["job_id"] is None


def until(service: Service, server: dict[str, Any], ids: Callable[[], Any], wanted: Any) -> None:
    """Wait until something is as it should be and the server is left alone."""
    wait_for(lambda: ids() == wanted and settled(service, server), f"{wanted}", seconds=60, pause=0.2)


def test_what_is_due_is_made_and_what_was_missed_is_made_once(service: Service, sandbox: Sandbox) -> None:
    server = service.built("scheduled")
    schedule = scheduled(service, server, cron="*/5 * * * *", mode="suspend")
    assert schedule["next_run_at"] is not None
    make_due(service, schedule, ago_seconds=90_000)  # three hundred are missed
    until(service, server, lambda: [b["status"] for b in backups(service, server)], ["ready"])
    [backup] = backups(service, server)
    assert backup["mode"] == "suspend"
    shown = service.read(f"servers/{server['id']}/backup-schedules/{schedule['id']}")["backup_schedule"]
    job = service.read(f"jobs/{shown['last_job_id']}")["job"]
    assert (job["requested_by"], job["status"]) == ("schedule", "succeeded")
    assert shown["next_run_at"] > shown["last_run_at"] > schedule["created_at"]
    entries = service.read(f"audit?action=backup.create&resource_id={server['id']}")["audit_entries"]
    assert [(entry["source"], entry["message"]) for entry in entries] == [("worker", "It was due.")]
    time.sleep(1)
    assert len(backups(service, server)) == 1


def test_a_locked_server_is_backed_up_later(service: Service, sandbox: Sandbox) -> None:
    server = service.built("busy-when-due")
    schedule = scheduled(service, server)
    sandbox.control.patch("/settings", json={"durations": {"shutdown": 60.0}}).raise_for_status()
    try:
        asked = service.ask(f"servers/{server['id']}/power", {"action": "shutdown"})
        make_due(service, schedule)
        time.sleep(1.5)
        assert backups(service, server) == []
    finally:
        sandbox.control.patch("/settings", json={"durations": {"shutdown": 4.0}}).raise_for_status()
    service.finished(asked["job"]["id"])
    until(service, server, lambda: [b["status"] for b in backups(service, server)], ["ready"])


def test_a_node_backs_up_one_server_after_the_other(service: Service, sandbox: Sandbox) -> None:
    servers = [service.built(f"in-turn-{number}") for number in range(3)]
    schedules = [scheduled(service, server) for server in servers]
    sandbox.control.patch("/settings", json={"durations": {"backup": 30.0}}).raise_for_status()
    try:
        for number, schedule in enumerate(schedules):
            make_due(service, schedule, ago_seconds=3600 - number)
        wait_for(lambda: not settled(service, servers[0]), "the first backup")
        time.sleep(1)
        # Whose turn it is not is not locked either.
        assert [settled(service, server) for server in servers] == [False, True, True]
    finally:
        sandbox.control.patch("/settings", json={"durations": {"backup": 1.0}}).raise_for_status()
    for server in servers:
        until(service, server, lambda of=server: [b["status"] for b in backups(service, of)], ["ready"])  # type: ignore[misc]
    taken = [backups(service, server)[0]["created_at"] for server in servers]
    assert taken == sorted(taken)


def test_what_need_not_be_kept_goes_but_no_locked_one_and_none_of_others(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("pruned", limits={"backups": 4})
    by_hand = made(service, server)
    schedule = scheduled(service, server, keep={"last": 1})

    def run_once() -> str:
        before = {b["id"] for b in backups(service, server)}
        make_due(service, schedule)
        wait_for(lambda: {b["id"] for b in backups(service, server)} - before, "a backup", pause=0.1)
        [new] = {b["id"] for b in backups(service, server)} - before
        return str(new)

    first = run_once()
    until(service, server, lambda: backups(service, server)[0]["status"], "ready")
    service.done(f"servers/{server['id']}/backups/{first}/lock")
    second = run_once()
    until(service, server, lambda: backups(service, server)[0]["status"], "ready")
    third = run_once()
    wanted = {by_hand["id"], first, third}
    until(service, server, lambda: {b["id"] for b in backups(service, server)}, wanted)
    assert second not in wanted
    assert len(listed(sandbox, server)) == 3

    # At the limit, the one that will go makes room; when none will, that is said and nothing is done.
    service.ask(f"servers/{server['id']}", {"limits": {"backups": 3}}, "PATCH")
    fourth = run_once()
    until(
        service, server, lambda: {b["id"] for b in backups(service, server)}, {by_hand["id"], first, fourth}
    )
    service.ask(f"servers/{server['id']}/backup-schedules/{schedule['id']}", {"keep": {"last": 9}}, "PATCH")
    receiver = {"url": "https://localhost:1024/", "events": ["backup.failed"]}  # which may not be called
    webhook = service.create("webhooks", receiver)["webhook"]["id"]
    make_due(service, schedule)
    refused = f"audit?action=backup.create&resource_id={server['id']}&outcome=resource_limit_exceeded"
    wait_for(lambda: service.read(refused)["audit_entries"], "the refusal")
    assert len(backups(service, server)) == 3
    [told] = service.read(f"webhooks/{webhook}/deliveries?type=backup.failed")["deliveries"]
    assert (told["resource_type"], told["resource_id"]) == ("server", server["id"])
    wait_for(lambda: service.read(f"webhooks/{webhook}/deliveries")["deliveries"][0]["error"], "an attempt")
    attempted = service.read(f"webhooks/{webhook}/deliveries/{told['id']}")["delivery"]
    assert json.loads(attempted["body"])["data"]["error"]["code"] == "resource_limit_exceeded"
    assert attempted["log"][0]["error"] == "unreachable"
    assert "NotPermitted" in attempted["log"][0]["detail"]


def test_what_is_locked_on_its_storage_is_left_alone(service: Service, sandbox: Sandbox) -> None:
    server = service.built("protected-there")
    schedule = scheduled(service, server, keep={"last": 1})
    make_due(service, schedule)
    until(service, server, lambda: [b["status"] for b in backups(service, server)], ["ready"])
    [old] = backups(service, server)
    sandbox.do("PUT", f"/nodes/pve1/storage/local/content/{old['volume']}", protected=1)
    make_due(service, schedule)
    until(service, server, lambda: [(b["status"], b["locked"]) for b in backups(service, server)],
          [("ready", False), ("ready", True)])  # fmt: skip


def test_owners_keep_schedules_of_their_own_servers(service: Service) -> None:
    email = "owner@schedules.example.com"
    user = command(service, "user", "create", "--email", email, "--name", "O", "--role", "client")["user"]
    scopes = ("--scope", "servers:read", "--scope", "servers:write")
    token = command(service, "token", "create", "--user", email, "--name", "t", *scopes)["secret"]
    server, other = service.built("owned", owner_id=user["id"]), service.built("not-owned")
    with plain_http.Client(
        base_url=service.http.base_url, headers={"Authorization": f"Bearer {token}"}
    ) as http:
        path = f"/client/servers/{server['id']}/backup-schedules"
        answer = http.post(
            path, json={"cron": "0 3 * * *", "timezone": "Europe/Berlin", "keep": {"daily": 7}}
        )
        assert answer.status_code == 201, answer.text
        schedule = answer.json()["backup_schedule"]
        assert "storage" not in schedule
        often = http.post(path, json={"cron": "*/10 * * * *"})
        assert (often.status_code, often.json()["error"]["details"][0]["field"]) == (422, "cron")
        assert http.patch(f"{path}/{schedule['id']}", json={"cron": "* * * * *"}).status_code == 422
        changed = http.patch(f"{path}/{schedule['id']}?check=true", json={"enabled": False})
        assert (changed.json()["backup_schedule"]["next_run_at"], changed.status_code) == (None, 200)
        assert http.get(path).json()["backup_schedules"] == [schedule]
        theirs = scheduled(service, other)
        for way in (
            f"/client/servers/{other['id']}/backup-schedules/{theirs['id']}",
            f"{path}/{theirs['id']}",
        ):
            assert {http.get(way).status_code, http.delete(way).status_code} == {404}
        assert http.delete(f"{path}/{schedule['id']}").status_code == 200
        assert http.get(path).json()["backup_schedules"] == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"cron": "0 3 * *"}, "cron"),
        ({"cron": "{{ lookup('pipe','id') }}"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"keep": {"daily": -1}}, "keep.daily"),
        ({"keep": {"yearly": 1}}, "keep.yearly"),
        ({"jitter_seconds": 10**9}, "jitter_seconds"),
    ],
)
def test_a_bad_schedule_is_refused_and_named(service: Service, spec: dict[str, Any], field: str) -> None:
    server = next(iter(service.read("servers?name=scheduled")["servers"]), None) or service.built("scheduled")
    asked = {"cron": "0 3 * * *", **spec}
    status, error = service.refused(f"servers/{server['id']}/backup-schedules", asked)
    assert (status, [problem["field"] for problem in error["details"]]) == (422, [field])


def test_schedules_are_kept_on_the_command_line(service: Service, run: Run) -> None:
    service.built("by-command")
    ask = remote(service)
    added = run("backup", "schedule", "add", "by-command", "0 3 * * *", "--keep", "daily=7", "--keep", "last=2",
                "--jitter", "10m", "--json", **ask)  # fmt: skip
    assert added.status == 0, added.err
    schedule = added.document["backup_schedule"]
    assert (schedule["jitter_seconds"], schedule["keep"]["daily"], schedule["keep"]["last"]) == (600, 7, 2)
    shown = run("backup", "schedule", "list", "by-command", **ask)
    assert "daily=7" in shown.out
    changed = run(
        "backup", "schedule", "change", "by-command", str(schedule["id"]), "--disable", "--json", **ask
    )
    assert changed.document["backup_schedule"]["next_run_at"] is None
    bad = run("backup", "schedule", "add", "by-command", "x", **ask)
    assert (bad.status, "CRON" in bad.err) == (1, True)
    assert run("backup", "schedule", "add", "by-command", "0 3 * * *", "--keep", "often", **ask).status == 2
    assert run("backup", "schedule", "remove", "by-command", str(schedule["id"]), **ask).status == 0


def test_schedules_go_with_their_server(service: Service) -> None:
    server = service.built("goes-with-schedule")
    scheduled(service, server)
    service.done(f"servers/{server['id']}", method="DELETE")
    with closing(sqlite3.connect(service.state / "jotunheim.db")) as raw:
        query = "SELECT COUNT(*) FROM backup_schedule WHERE server_id = ?"
        assert raw.execute(query, (server["id"].replace("-", ""),)).fetchone() == (0,)
