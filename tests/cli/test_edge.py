"""Exit statuses and errors of all commands."""

import os
import subprocess
import sys

import pytest

from jotunheim.cli import servers
from tests.cli.conftest import Run, remote, run_process
from tests.support.processes import JOTUNHEIM
from tests.support.service import Service

COMMANDS = [
    "demo",
    "init",
    "up",
    "serve",
    "worker",
    "db migrate",
    "db check",
    "db backup",
    "location add",
    "location list",
    "node add",
    "node list",
    "node test",
    "template add",
    "template list",
    "pool add",
    "pool list",
    "server create",
    "server list",
    "server show",
    "server configure",
    "server power",
    "server password",
    "server rebuild",
    "server suspend",
    "server unsuspend",
    "server protect",
    "server unprotect",
    "server delete",
    "snapshot list",
    "snapshot create",
    "snapshot rollback",
    "snapshot delete",
    "job list",
    "job show",
    "job watch",
    "job retry",
    "job cancel",
    "user create",
    "user list",
    "user disable",
    "token create",
    "token list",
    "token revoke",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_takes_json(run: Run, command: str) -> None:
    ran = run(*command.split(), "--help")
    assert ran.status == 0
    assert "--json" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["server", "create"], ["server", "create", "--memory", "x"], ["demo", "--count", "0"]],
)
def test_bad_usage_is_status_2_with_a_document_for_programs(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments, "--json")
    assert ran.status == 2
    assert ran.document["error"]["code"] == "usage"
    assert "Error: " in ran.err
    assert "Traceback" not in ran.err


def test_control_characters_of_the_command_line_are_not_echoed(run: Run) -> None:
    ran = run("server", "\x1b[31m")
    assert ran.status == 2
    assert "\x1b" not in ran.err


def test_an_unexpected_error_is_told_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(servers, "print_rows", broken)
    monkeypatch.setattr("jotunheim.cli.client.Api.all", lambda *_, **__: [])
    ran = run("server", "list", "--json", JOTUNHEIM_TOKEN="jtn_x")
    assert ran.status == 1
    assert ran.document["error"] == {
        "code": "internal",
        "message": "RuntimeError: the moon is full",
        "details": [],
        "hint": "JOTUNHEIM_LOG_LEVEL=DEBUG shows where.",
        "request_id": None,
    }
    assert "Traceback" not in ran.err


def test_ctrl_c_is_status_130_with_a_line(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jotunheim.cli.client.Api.all", interrupted)
    ran = run("server", "list", "--json", JOTUNHEIM_TOKEN="jtn_x")
    assert ran.status == 130
    assert ran.document["error"]["code"] == "interrupted"
    assert ran.err == "Error: Interrupted.\n"


def test_a_reader_that_goes_away_is_no_traceback(service: Service) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [JOTUNHEIM, "location", "list", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, **remote(service)},
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = ("httpx", "rich.live", "uvicorn", "starlette", "peewee", "ansible", "cryptography")
    code = (
        "import sys; from jotunheim.cli import main\n"
        "try: main(['server', 'create', '--help'])\n"
        f"except SystemExit: print([name for name in {heavy!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_module_runs_as_the_command_does() -> None:
    module = subprocess.run(
        [sys.executable, "-m", "jotunheim.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert module.stdout == run_process("--help").out
