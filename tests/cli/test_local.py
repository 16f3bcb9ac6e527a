"""Commands that use the settings of the service: init, db, serve, worker, up."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ran, run_process
from tests.support import plain_http
from tests.support.processes import JOTUNHEIM, end, start, wait_for


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """The environment of a service that was not initialised."""
    return {"JOTUNHEIM_STATE_DIR": str(tmp_path / "state"), "JOTUNHEIM_LISTEN": "127.0.0.1:0"}


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory that was initialised; for copying."""
    directory = tmp_path_factory.mktemp("initialised") / "state"
    ran = run_process(
        "init", "--admin-email", "admin@example.com", "--json", JOTUNHEIM_STATE_DIR=str(directory)
    )
    assert ran.document["admin_token"].startswith("jtn_")
    return directory


@pytest.fixture
def ready(state: dict[str, str], initialised: Path) -> dict[str, str]:
    """The environment of a service that was initialised."""
    shutil.copytree(initialised, state["JOTUNHEIM_STATE_DIR"])
    return state


@contextmanager
def up(environment: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = start([JOTUNHEIM, "up", "--json"], log, environment)
    try:
        assert process.stdout is not None
        told = Ran(0, process.stdout.readline(), "").document
        yield process, told
    finally:
        end(process, log)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def draining_children(pid: int) -> list[int]:
    """Children that end in order on SIGTERM: they have a handler for it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    caught = {
        child: re.search(r"SigCgt:\s(\w+)", Path(f"/proc/{child}/status").read_text()) for child in children
    }
    return [
        int(child) for child, mask in caught.items() if mask and int(mask[1], 16) >> (signal.SIGTERM - 1) & 1
    ]


def test_init_prints_the_token_once_and_refuses_a_second_administrator(ready: dict[str, str]) -> None:
    again = run_process("init", "--admin-email", "admin@example.com", "--json", **ready)
    assert again.status == 1
    assert again.document["error"]["code"] == "uniqueness_error"
    other = run_process("init", "--admin-email", "other@example.com", **ready)
    assert "export JOTUNHEIM_TOKEN=jtn_" in other.out


def test_database_commands(ready: dict[str, str], tmp_path: Path) -> None:
    assert run_process("db", "migrate", "--json", **ready).document == {"applied": []}
    assert run_process("db", "check", "--json", **ready).document == {"ok": True, "problems": []}
    copy = tmp_path / "copy.db"
    copied = run_process("db", "backup", str(copy), "--json", **ready)
    assert copied.document == {"file": str(copy), "size_bytes": copy.stat().st_size}
    assert copy.stat().st_mode & 0o077 == 0
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT email FROM user").fetchall() == [("admin@example.com",)]
    connection.close()
    again = run_process("db", "backup", str(copy), "--json", **ready)
    assert again.status == 1
    assert again.document["error"]["details"][0]["field"] == "FILE"


def test_check_finds_a_missing_schema(state: dict[str, str]) -> None:
    Path(state["JOTUNHEIM_STATE_DIR"]).mkdir()
    checked = run_process("db", "check", "--json", **state)
    assert checked.status == 1
    assert checked.document["error"]["code"] == "database_problems"
    assert not checked.document["ok"]
    assert run_process("db", "migrate", **state).out.startswith("Applied ")


@pytest.mark.parametrize("command", ["serve", "worker", "up"])
def test_nothing_starts_without_a_key(state: dict[str, str], command: str) -> None:
    ran = run_process(command, "--json", **state)
    assert ran.status == 1
    assert ran.document["error"]["code"] == "secret_unavailable"
    assert "jotunheim init" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["serve", "worker", "up"])
def test_nothing_starts_without_the_schema(ready: dict[str, str], command: str) -> None:
    Path(ready["JOTUNHEIM_STATE_DIR"], "jotunheim.db").unlink()
    ran = run_process(command, "--json", **ready)
    assert ran.status == 1
    assert ran.document["error"]["code"] == "migrations_pending"
    assert "jotunheim db migrate" in ran.err


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_port_in_use_is_named(ready: dict[str, str], command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run_process(command, "--json", **{**ready, "JOTUNHEIM_LISTEN": f"127.0.0.1:{port}"})
    assert ran.status == 1
    assert ran.document["error"]["code"] == "port_in_use"
    assert f"Port {port} of 127.0.0.1 is in use." in ran.err


def test_bad_settings_are_named(state: dict[str, str]) -> None:
    ran = run_process(
        "serve",
        JOTUNHEIM_LISTEN="nowhere",
        JOTUNHEIM_COLOUR="red",
        **{"JOTUNHEIM_STATE_DIR": state["JOTUNHEIM_STATE_DIR"]},
    )
    assert ran.status == 1
    assert "\n  JOTUNHEIM_LISTEN: " in ran.err
    assert "\n  JOTUNHEIM_COLOUR: " in ran.err


def test_up_serves_restarts_its_worker_and_ends_in_order(ready: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    with up(ready, log) as (process, told):
        assert plain_http.get(f"{told['url']}/readyz").status_code == 200
        wait_for(lambda: "Worker ready" in log.read_text(), "the worker")
        os.kill(told["worker_pid"], signal.SIGKILL)
        wait_for(lambda: "the next one starts in 1 s" in log.read_text(), "word of its end")
        wait_for(lambda: len(draining_children(process.pid)) == 2, "the next worker")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not is_alive(told["api_pid"])
    assert log.read_text().count("Worker ended") == 1


def test_up_ends_when_its_api_ends(ready: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    with up(ready, log) as (process, told):
        os.kill(told["api_pid"], signal.SIGKILL)
        assert process.wait(20) == 1
    assert not is_alive(told["worker_pid"])
    assert "The API ended with status -9" in log.read_text()


def test_children_of_up_do_not_outlive_it(ready: dict[str, str], tmp_path: Path) -> None:
    with up(ready, tmp_path / "up.log") as (process, told):
        process.kill()
        process.wait()
        wait_for(lambda: not is_alive(told["api_pid"]) and not is_alive(told["worker_pid"]), "their end")


def test_ctrl_c_ends_up_with_status_130(ready: dict[str, str], tmp_path: Path) -> None:
    with up(ready, tmp_path / "up.log") as (process, told):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not is_alive(told["worker_pid"])


def test_another_key_than_the_databases_is_noticed_before_anything_is_served(tmp_path: Path) -> None:
    environment = {"JOTUNHEIM_STATE_DIR": str(tmp_path / "state"), "JOTUNHEIM_LISTEN": "127.0.0.1:0"}
    assert run_process("init", "--admin-email", "a@example.com", **environment).status == 0
    other = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
    for command in ("serve", "worker"):
        refused = run_process(command, **environment, JOTUNHEIM_SECRET_KEY=other)
        assert refused.status == 1
        assert "not at hand" in refused.err
        assert other not in refused.err + refused.out


def test_init_wants_an_e_mail_address(tmp_path: Path) -> None:
    for email in ("", "nobody", "a@b\nc", "{{ 7*7 }}@example.com"):
        refused = run_process("init", "--admin-email", email, JOTUNHEIM_STATE_DIR=str(tmp_path / "state"))
        assert refused.status in (1, 2), email
        assert "mail" in refused.err
