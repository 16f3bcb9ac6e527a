"""The audit log as a whole: its chain, how it is read, how long it stays, and that outsiders cannot fill it."""

import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from jotunheim.repositories.peewee.audit import AuditEntry
from tests.cli.conftest import run_process
from tests.support import databases, plain_http
from tests.support.audit import entry_of, run_command
from tests.support.sandbox import Sandbox
from tests.support.service import Service


def test_outsiders_cannot_fill_the_log(tmp_path: Path) -> None:
    with Service.start(tmp_path / "state", worker=False) as service:
        url = str(service.http.base_url) + "admin/servers"
        with plain_http.Client() as client:
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


def test_a_killed_api_leaves_no_change_without_its_entry_and_no_entry_without_its_change(
    fresh_service: Service,
) -> None:
    service, at_work = fresh_service, threading.Event()
    at_work.set()

    def write(number: int) -> int:
        answered = 0
        while at_work.is_set():
            name = f"k-{number}-{answered}-{time.monotonic_ns()}"
            try:
                service.create("locations", {"name": name, "short_code": name})
                answered += 1
            except httpx.TransportError:  # killed in the middle, or not up again yet
                time.sleep(0.02)
        return answered

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, number) for number in range(8)]
        for _ in range(4):
            time.sleep(0.5)
            service.kill_api()
        at_work.clear()
        answered = sum(writer.result() for writer in writers)
    with closing(sqlite3.connect(service.state / "jotunheim.db")) as raw:
        made = sorted(id_ for (id_,) in raw.execute("SELECT id FROM location"))
        told = raw.execute("SELECT resource_id FROM audit_entry WHERE action = 'location.create'").fetchall()
    assert len(made) >= answered > 50
    assert sorted(int(id_) for (id_,) in told) == made
    assert run_command(service, "audit", "verify", "--json").document["ok"] is True


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
    document = run_command(service, "audit", "verify", "--json").document
    assert document["ok"] is True
    assert document["entries"] >= 100
    return document


def test_the_chain_is_whole_after_twenty_writers_at_once(audited: Service) -> None:
    before = _written_at_once(audited)
    assert run_command(audited, "audit", "verify", "--expect", before["last_hash"]).status == 0
    named = audited.read(f"audit?resource_type=location&resource_id={audited.ids['location']}&limit=200")
    chain = [
        (entry["before"]["location"]["name"], entry["after"]["location"]["name"])
        for entry in reversed(named["audit_entries"])
        if entry["action"] == "location.change" and entry["outcome"] == "done"
    ]
    assert len(chain) == 20
    assert [was for was, _ in chain[1:]] == [became for _, became in chain[:-1]]


def test_the_same_holds_on_postgresql(sandbox: Sandbox, tmp_path: Path) -> None:
    with databases.postgresql() as server:
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
    entry_of(audited, "POST", "locations", {"name": "Shown", "short_code": "shown"})
    listed = run_command(
        audited, "audit", "list", "--action", "location.create", "--limit", "1", "--json"
    ).document
    assert [entry["after"]["location"]["short_code"] for entry in listed["audit_entries"]] == ["shown"]
    for number in range(200):
        audited.refused(f"locations/{9000 + number}", method="DELETE")
    everything = run_command(audited, "audit", "list", "--json").document["audit_entries"]
    assert [entry["id"] for entry in everything] == list(range(len(everything), 0, -1))
    assert len(everything) > 200  # more than one answer has
    assert everything[-1]["action"] == "init"
    filters = ("--actor", "admin@example.com", "--resource-type", "location", "--outcome", "done")
    table = run_command(audited, "audit", "list", *filters, "--since", "1h", "--limit", "3")
    assert table.status == 0
    assert "location.create" in table.out
    assert run_command(audited, "audit", "list", "--until", "2020-01-01", "--json").document == {
        "audit_entries": []
    }
    assert run_command(audited, "audit", "list", "--since", "yesterday").status == 2
    verified = run_command(audited, "audit", "verify")
    assert verified.status == 0
    assert f"{len(everything)} entries" in verified.out
    refused = run_command(audited, "audit", "verify", "--expect", "0" * 63 + "1", "--json")
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
    ran = run_command(fresh_service, "audit", "verify", "--json")
    assert (ran.status, ran.document["wrong_id"]) == (1, 2)
    assert "Entry 2 was changed" in ran.err


def test_commands_on_the_services_machine_are_recorded(fresh_service: Service) -> None:
    run_command(
        fresh_service, "user", "create", "--email", "u@example.com", "--name", "U", "--role", "client"
    )
    made = run_command(
        fresh_service, "token", "create", "--user", "u@example.com", "--name", "t", "--scope", "*", "--json"
    ).document
    run_command(fresh_service, "token", "revoke", str(made["token"]["id"]))
    run_command(fresh_service, "user", "disable", "u@example.com")
    assert run_command(fresh_service, "user", "disable", "nobody@example.com").status == 1
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
    for entry, name in ((found[0], "disabled_at"), (found[1], "revoked_at")):
        kind = entry["resource_type"]
        assert entry["before"][kind][name] is None
        assert entry["after"][kind][name] is not None
        assert "email" not in entry["after"][kind]  # no more than what is different
    assert found[2]["after"]["token"]["name"] == "t"
    assert made["secret"] not in json.dumps(found)


def test_the_log_needs_its_scope(fresh_service: Service) -> None:
    made = run_command(
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
        assert run_command(service, "audit", "verify", "--json").document["first_id"] == 3


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
