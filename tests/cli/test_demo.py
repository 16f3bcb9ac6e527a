"""The demo: the main job on an empty machine, and the line that replays its run."""

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from jotunheim.cli.demo.directory import DemoDirectory
from jotunheim.cli.demo.machines import Machines
from jotunheim.cli.errors import CommandError
from tests.cli.conftest import REPLAY_SECONDS, Ran, run_process
from tests.support import plain_http
from tests.support.processes import JOTUNHEIM, end, start, wait_for


def paste(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line as a person does: in a shell, from anywhere."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd="/",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=REPLAY_SECONDS,
        check=False,
    )


def processes_of(directory: Path) -> list[str]:
    """Command lines of the processes that use a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in text and int(process.name) != os.getpid():
            found.append(text.decode(errors="replace"))
    return found


def test_demo_shows_a_server_and_its_line_works_after_the_end(tmp_path: Path) -> None:
    directory = tmp_path / "demo state"
    ran = run_process("demo", "--state-dir", str(directory))
    assert ran.status == 0, ran.err
    assert directory.stat().st_mode & 0o077 == 0
    assert processes_of(directory) == []
    assert "jtn_" not in ran.out, "the token of a service that is gone"

    [line] = [line for line in ran.out.splitlines() if line.startswith("JOTUNHEIM_CONFIG=")]
    assert "ansible-playbook" in line
    for shown in ("As the API says:", "10.77.0.2/24", "ip=10.77.0.2/24,gw=10.77.0.1", "Clone the template"):
        assert shown in ran.out
    replayed = paste(line)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "changed=0 " in replayed.stdout
    assert "failed=0 " in replayed.stdout


def test_a_kept_demo_of_several_servers_ignores_settings_serves_until_ctrl_c_and_keeps_others_out(
    tmp_path: Path,
) -> None:
    directory, log = tmp_path / "demo", tmp_path / "log"
    foreign = {"JOTUNHEIM_DATABASE_URL": "sqlite:////nonexistent/db", "JOTUNHEIM_LISTEN": "127.0.0.1:1"}
    options = ["--keep", "--count", "2", "--state-dir", str(directory), "--json"]
    process = start([JOTUNHEIM, "demo", *options], log, foreign)
    try:
        assert process.stdout is not None
        document = Ran(0, process.stdout.readline(), "").document
        assert [server["name"] for server in document["servers"]] == ["web-1", "web-2"]
        for server, vm, job in zip(document["servers"], document["vms"], document["jobs"], strict=True):
            assert (server["status"], vm["status"]["status"], job["status"]) == (
                "ready",
                "running",
                "succeeded",
            )
            assert vm["config"]["smbios1"] == f"uuid={server['id']}"
            assert vm["config"]["ipconfig0"].startswith(f"ip={server['addresses'][0]['address']}/24")
        assert {counts["changed"] for counts in document["replay"]["recap"].values()} == {0}

        remote = {"JOTUNHEIM_URL": document["url"], "JOTUNHEIM_TOKEN": document["token"]}
        assert len(run_process("server", "list", "--json", **remote).document["servers"]) == 2
        assert "sandbox" not in document["replay"]["command"]
        replayed = paste(document["replay"]["command"], **foreign)
        assert replayed.stdout.count("changed=0 ") == 2, replayed.stdout + replayed.stderr

        second = run_process("demo", "--state-dir", str(directory))
        assert second.status == 2
        assert "in use by another demo" in second.err

        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        end(process, log)
    assert processes_of(directory) == []
    with pytest.raises(httpx.ConnectError):
        plain_http.get(document["url"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_demo_leaves_no_process(tmp_path: Path, number: int, status: int) -> None:
    directory, log = tmp_path / "demo", tmp_path / "log"
    process = start([JOTUNHEIM, "demo", "--state-dir", str(directory)], log)
    service_log = directory / "service.log"
    try:
        wait_for(
            lambda: service_log.exists() and "startup complete" in service_log.read_text(), "the service"
        )
        process.send_signal(number)
        assert process.wait(20) == status
    finally:
        end(process, log)
    assert processes_of(directory) == []
    assert "Traceback" not in log.read_text()


def test_a_process_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    def demo_without_init() -> None:
        with DemoDirectory(tmp_path) as directory, Machines(directory) as machines:
            machines.start("service", "up")
            machines.ready("service")

    with pytest.raises(CommandError) as failed:
        demo_without_init()
    assert failed.value.message == "The process service ended with status 1."
    assert [problem.field for problem in failed.value.problems] == ["service.log", "service.log"]
    assert "secret key file" in failed.value.problems[0].message


def test_a_directory_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    ran = run_process("demo", "--state-dir", str(tmp_path))
    assert ran.status == 2
    assert (tmp_path / "thesis.txt").read_text() == "precious"
