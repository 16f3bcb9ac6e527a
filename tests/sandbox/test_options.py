"""The command line: the ready line, bad options, a command that runs beside the sandbox."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jotunheim.sandbox.main import main
from tests.support.processes import JOTUNHEIM, end, start


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JOTUNHEIM, "sandbox", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"listen": "nonsense"}, "--listen"),
        ({"listen": "127.0.0.1:99999"}, "--listen"),
        ({"control": "127.0.0.1:x"}, "--control"),
        ({"time_scale": -1}, "--time-scale"),
        ({"nodes": 0}, "--nodes"),
        ({"guests": "some"}, "--guests"),
        ({"pbs": ["no name"]}, "--pbs"),
        ({"pbs": ["local"]}, "--pbs"),
        ({"pbs": ["twice", "twice"]}, "--pbs"),
        ({"state": Path("/nosuch/folder/state.json")}, "--state"),
    ],
)
def test_a_bad_option_is_named(
    arguments: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    defaults = {"listen": "127.0.0.1:0", "control": "127.0.0.1:0", "time_scale": 1, "nodes": 1}
    code = main(**{**defaults, "guests": "none", "state": None, "command": []} | arguments)
    assert (code, capsys.readouterr().err.startswith(f"{named}: ")) == (2, True)


def test_a_bad_option_ends_the_command_without_a_traceback() -> None:
    done = run("--guests", "some")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_state_file_that_holds_no_state_is_named(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"nodes": {}, "nosuch": 1}')
    done = run("--state", str(file))
    assert (done.returncode, "--state" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
    assert json.loads(file.read_text()) == {"nodes": {}, "nosuch": 1}


@pytest.mark.parametrize("option", ["--listen", "--control"])
def test_a_port_in_use_is_named(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(option, f"127.0.0.1:{port}")
    assert (done.returncode, str(port) in done.stderr, option in done.stderr) == (1, True, True)


def test_the_ready_line_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start([JOTUNHEIM, "sandbox", "--nodes", "2"], log)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
    finally:
        end(process, log)
    assert sorted(ready) == sorted(
        [
            *["url", "control_url", "token_id", "token_secret", "user", "password"],
            "ca_pem_file",
            "fingerprint",
            "nodes",
            "storages",
            "template_vmid",
        ]
    )
    assert (ready["nodes"], ready["storages"], ready["template_vmid"]) == (
        ["pve1", "pve2"],
        ["vmstore", "shared", "local"],
        9000,
    )
    assert (process.returncode, log.read_text()) == (0, "")


def test_a_command_finds_the_sandbox_and_its_exit_code_counts() -> None:
    code = "import os, sys; print(os.environ['SANDBOX_URL'][:8], os.environ['SANDBOX_NODES']); sys.exit(7)"
    done = run("--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (7, "https:// pve1\n")


def test_a_command_that_does_not_exist_is_named() -> None:
    done = run("--", "/nosuch/program")
    assert (done.returncode, "/nosuch/program" in done.stderr) == (127, True)


def test_without_its_extra_the_command_names_it() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from jotunheim.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "sandbox"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, "jotunheim[sandbox]" in done.stderr, "Traceback" in done.stderr) == (
        2,
        True,
        False,
    )
