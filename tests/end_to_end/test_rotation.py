"""Keys are rotated while the service works, and the old one can be thrown away then."""

import base64
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jotunheim.ansible import paths
from jotunheim.repositories.peewee.secrets import Keyring
from tests.support import databases, plain_http
from tests.support.processes import JOTUNHEIM, end, start_jotunheim, wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

MANY = 1500


def _new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def _keys(service: Service) -> list[str]:
    return (service.state / "secret.key").read_text().split()


def _put_keys(service: Service, *keys: str) -> None:
    (service.state / "secret.key").write_text("".join(f"{key}\n" for key in keys))


def _rotating(service: Service) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [JOTUNHEIM, "secrets", "rotate", "--json"],
        env={**os.environ, **service.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _rotate(service: Service) -> tuple[int, dict[str, Any]]:
    """Status and document of a rotation."""
    return _end_of(_rotating(service))


def _end_of(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, json.loads(output)


def _ask(service: Service, sql: str, rows: Sequence[Sequence[Any]] | None = None) -> list[Any]:
    with closing(sqlite3.connect(service.state / "jotunheim.db", timeout=30)) as database, database:
        if rows is None:
            return database.execute(sql).fetchall()
        database.executemany(sql, rows)
        return []


def _add_secrets(service: Service, key: str, how_many: int = MANY) -> None:
    keyring = Keyring([key])
    rows = [(f"test/{n:05}", keyring.encrypt(f"test/{n:05}", f"value {n}"), 0) for n in range(how_many)]
    _ask(service, "INSERT INTO secret (name, ciphertext, created_at) VALUES (?, ?, ?)", rows)


def _key_ids(service: Service) -> set[str]:
    """Of all that is encrypted, which keys did it."""
    sealed = _ask(service, "SELECT ciphertext FROM secret UNION ALL SELECT answer FROM stored_answer")
    return {ciphertext.split(".")[1] for (ciphertext,) in sealed}


def _id_of(key: str) -> str:
    return Keyring([key]).current.split(".")[1]


@contextmanager
def _again(service: Service) -> Iterator[Service]:
    """The same service, started again, with a worker."""
    log = service.state / "serve.log"
    api = start_jotunheim(["serve"], log, service.environment)
    with plain_http.Client(
        base_url=service.http.base_url, headers=service.http.headers, timeout=30
    ) as client:
        started = replace(service, http=client, workers=[])
        try:
            wait_for(lambda: started.is_ready() or api.poll() is not None, "the API")
            assert api.poll() is None, log.read_text()[-3000:]
            started.start_worker()
            yield started
        finally:
            for process in started.workers:
                end(process, service.state / "worker.log")
            end(api, log)


def _serve_fails(service: Service) -> str:
    """What `serve` says when it refuses to start."""
    done = subprocess.run(
        [JOTUNHEIM, "serve"],
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def stopped(tmp_path: Path) -> Service:
    """A service that was initialised, and does not run."""
    with Service.start(tmp_path / "state", worker=False) as started:
        pass
    return started


def test_the_old_key_can_be_removed_after_a_rotation_under_way(tmp_path: Path, sandbox: Sandbox) -> None:
    once = {"Idempotency-Key": "before"}
    with Service.start(tmp_path / "state") as before:
        before.add_infrastructure(sandbox)
        spec = {"name": "rotated", "template_id": before.ids["template"], "start": False}
        first = before.http.post("/admin/servers", json=spec, headers=once)
        assert first.json()["root_password"]
        before.finished(first.json()["job"]["id"])
    [old] = _keys(before)
    new = _new_key()
    _add_secrets(before, old)
    assert _key_ids(before) == {_id_of(old)}

    _put_keys(before, new, old)
    with _again(before) as service:
        over = threading.Event()
        answers: list[int] = []

        def work() -> None:
            number = 0
            while not over.is_set():
                number += 1
                secret = {"token_secret": sandbox.token_secret}
                answers.append(
                    service.http.patch(f"/admin/nodes/{service.ids['node']}", json=secret).status_code
                )
                location = {"name": f"during-{number}", "short_code": f"d{number}"}
                key = {"Idempotency-Key": f"during-{number}"}
                answers.append(service.http.post("/admin/locations", json=location, headers=key).status_code)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            status, document = _rotate(service)
            built = service.built("during-rotation", start=False)
        finally:
            over.set()
            worker.join()
        assert (status, document["left"]) == (0, [])
        assert document["rotated"] >= MANY
        assert set(answers) == {200, 201}
        assert len(answers) > 10
        assert built["status"] == "ready"
        assert _rotate(service) == (0, {"rotated": 0, "left": []})
    assert _key_ids(before) == {_id_of(new)}

    _put_keys(before, new)
    with _again(before) as service:
        again = service.http.post("/admin/servers", json=spec, headers=once)
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        service.built("after-rotation", password="some-Passw0rd", start=False)
    keyring = Keyring([new])
    for name, ciphertext in _ask(before, "SELECT name, ciphertext FROM secret WHERE name LIKE 'test/%'"):
        assert keyring.decrypt(name, ciphertext) == f"value {int(name.removeprefix('test/'))}"


def test_a_rotation_that_was_killed_is_ended_by_the_next_one(stopped: Service) -> None:
    [old] = _keys(stopped)
    new = _new_key()
    _add_secrets(stopped, old, 6_000)
    _put_keys(stopped, new, old)
    counted = f"SELECT count(*) FROM secret WHERE ciphertext LIKE 'jv1.{_id_of(new)}.%'"
    process = _rotating(stopped)
    wait_for(lambda: _ask(stopped, counted)[0][0] > 0, "the first batch", pause=0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [(done,)] = _ask(stopped, counted)
    assert 0 < done < 6_000, "it was killed too late: the machine is too fast for this test"

    _put_keys(stopped, new)
    said = _serve_fails(stopped)
    assert _id_of(old) in said
    assert "Put the key back" in said
    refused = _rotate(stopped)
    assert refused[0] == 1
    assert "which is not at hand" in refused[1]["error"]["message"]

    _put_keys(stopped, new, old)
    status, document = _rotate(stopped)
    assert (status, document) == (
        0,
        {"rotated": 6_000 - done + 1, "left": []},
    )  # and the one that checks the key
    assert _key_ids(stopped) == {_id_of(new)}


def test_two_rotations_at_once_share_the_work(stopped: Service) -> None:
    [old] = _keys(stopped)
    new = _new_key()
    _add_secrets(stopped, old)
    _put_keys(stopped, new, old)
    ends = [_end_of(process) for process in [_rotating(stopped), _rotating(stopped)]]
    assert [status for status, _ in ends] == [0, 0]
    assert sum(document["rotated"] for _, document in ends) == MANY + 1
    assert _key_ids(stopped) == {_id_of(new)}


def test_what_no_key_opens_is_named_and_the_old_key_is_kept(stopped: Service) -> None:
    [old] = _keys(stopped)
    lost, new = _new_key(), _new_key()
    _add_secrets(stopped, old, 250)
    foreign = Keyring([lost]).encrypt("node/7/token", "gone")
    moved = Keyring([old]).encrypt("another", "value")
    insert = "INSERT INTO secret (name, ciphertext, created_at) VALUES (?, ?, 0)"
    _ask(stopped, insert, [("node/7/token", foreign), ("node/8/token", moved)])
    _put_keys(stopped, new, old)
    for rotated in (250, 0):
        status, document = _rotate(stopped)
        assert status == 1
        assert document["error"]["code"] == "secrets_left"
        assert (document["rotated"], document["left"]) == (rotated, ["node/7/token", "node/8/token"])
    _put_keys(stopped, new)
    assert "Put the key back" in _serve_fails(stopped)

    _ask(stopped, "DELETE FROM secret WHERE name = ?", [["node/8/token"]])
    _put_keys(stopped, new, old, lost)
    assert _rotate(stopped) == (0, {"rotated": 2, "left": []})
    _put_keys(stopped, new)
    with _again(stopped) as service:
        assert service.http.get("/admin/nodes").status_code == 200


def test_nothing_to_do_is_done(stopped: Service) -> None:
    assert _rotate(stopped) == (0, {"rotated": 0, "left": []})


def test_two_rotations_at_once_on_postgresql(tmp_path: Path) -> None:
    with databases.postgresql() as server:
        settings = {"JOTUNHEIM_DATABASE_URL": server.url}
        with Service.start(tmp_path / "state", worker=False, settings=settings) as service:
            [old] = _keys(service)
            new = _new_key()
            keyring = Keyring([old])
            with psycopg.connect(server.url) as database, database.cursor() as cursor:
                insert = "INSERT INTO secret (name, ciphertext, created_at) VALUES (%s, %s, 0)"
                rows = [(f"t/{n}", keyring.encrypt(f"t/{n}", "value")) for n in range(MANY)]
                cursor.executemany(insert, rows)
            once = {"Idempotency-Key": "kept"}
            location = {"name": "kept", "short_code": "kept"}
            first = service.http.post("/admin/locations", json=location, headers=once)
            assert first.status_code == 201
            _put_keys(service, new, old)
            with ThreadPoolExecutor() as pool:
                ends = list(pool.map(_end_of, [_rotating(service), _rotating(service)]))
            assert [status for status, _ in ends] == [0, 0]
            assert sum(document["rotated"] for _, document in ends) == MANY + 2
            with psycopg.connect(server.url) as database:
                sealed = database.execute(
                    "SELECT ciphertext FROM secret UNION ALL SELECT answer FROM stored_answer"
                )
                assert {text.split(".")[1] for (text,) in sealed} == {_id_of(new)}


def test_whatever_is_encrypted_is_rotated() -> None:
    """A module that encrypts something of its own has to be in `rotation.SEALED`, and here."""
    package = paths.COLLECTIONS.parent
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if re.search(r"(?i)keyring\.encrypt\(", file.read_text()) and "sandbox" not in file.parts
    }
    assert found == {"repositories/peewee/secrets.py", "repositories/peewee/idempotency.py"}
