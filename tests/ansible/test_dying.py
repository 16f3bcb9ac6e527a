"""Ansible that dies badly: each run ends, says why in words, and leaves nothing; the worker's memory stays as it is."""

import errno
import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jotunheim import bounded
from jotunheim.ansible import runner
from jotunheim.ansible.events import Kind, TaskEvent
from jotunheim.exceptions.service import ServerDeploymentError
from tests.ansible.conftest import SECRET, Player, processes_of

DIE = "[{name: Die, die: {how: %s}}]"
MEGABYTE = 1024 * 1024


def _error(result: runner.RunResult) -> ServerDeploymentError:
    with pytest.raises(ServerDeploymentError) as raised:
        result.of("web-1")
    _assert_for_people(raised.value)
    return raised.value


def _assert_for_people(error: ServerDeploymentError) -> None:
    assert error.hint
    assert "Traceback" not in error.message
    assert len(error.message) < 1300
    assert SECRET not in error.message


def _assert_storable(value: Any) -> None:
    """As PostgreSQL sees it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert "\\u0000" not in text
    text.encode()


def _peak() -> int:
    """Bytes of memory that this process had at most since `_forget_peak`."""
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.parametrize(
    ("how", "code", "retryable", "said"),
    [
        ("raise", "playbook_failed", False, "division by zero"),
        ("traceback", "playbook_failed", False, "It broke. ValueError: seven"),
        ("exit", "ansible_killed", True, "crashed"),
        ("exit silently", "ansible_killed", True, "crashed"),
        ("segfault", "ansible_killed", True, "crashed"),
        ("be killed", "ansible_killed", True, "killed"),
        ("kill ansible", "ansible_killed", True, "killed"),
        ("fill the disk", "worker_disk", True, os.strerror(errno.EFBIG)),
    ],
)
def test_a_plugin_that_crashes_fails_the_run_and_says_so(
    player: Player, how: str, code: str, retryable: bool, said: str
) -> None:
    error = _error(player.tasks(DIE % how))
    assert (error.code, error.retryable) == (code, retryable)
    assert said in error.message


def test_the_next_run_works(player: Player) -> None:
    _error(player.tasks(DIE % "kill ansible"))
    good = player.tasks("[{ansible.builtin.debug: {msg: fine}}]")
    assert good.of("web-1").results["ansible.builtin.debug"]["msg"] == "fine"


@pytest.mark.parametrize("how", ["much", "much and fail"])
def test_fifty_megabytes_of_output_are_cut_before_the_worker_reads_them(player: Player, how: str) -> None:
    player.tasks("[{ansible.builtin.debug: {msg: warm up}}]")
    told: list[TaskEvent] = []
    _forget_peak()
    before = _peak()
    result = player.tasks(DIE % how, on_event=told.append)
    assert _peak() - before < 20 * MEGABYTE
    ended = told[-1].result
    assert len(json.dumps(ended)) < 1.2 * bounded.RESULT_CHARACTERS
    assert ended["stdout"].endswith(f"{bounded.MARK}: {50 * MEGABYTE} characters]")
    if how == "much":
        assert bounded.MARK in ended["stdout_lines"][-1]
        assert result.of("web-1").results["die"] == ended
    else:
        assert _error(result).message.startswith("The task “Die” failed: too much too much")


def test_a_commands_output_is_cut(player: Player) -> None:
    player.tasks("[{ansible.builtin.debug: {msg: warm up}}]")
    _forget_peak()
    before = _peak()
    command = f"{sys.executable} -c \"import os; os.write(1, (b'x' * 500_000 + b'\\n') * 20)\""
    result = player.tasks(f"[{{ansible.builtin.command: {json.dumps(command)}}}]")
    assert _peak() - before < 20 * MEGABYTE
    told = result.of("web-1").results["ansible.builtin.command"]
    assert bounded.MARK in told["stdout"]
    assert len(json.dumps(told)) < 1.2 * bounded.RESULT_CHARACTERS


def test_what_is_printed_without_end_is_cut(player: Player) -> None:
    player.tasks("[{ansible.builtin.debug: {msg: warm up}}]")
    _forget_peak()
    before = _peak()
    error = _error(player.run(f"- hosts: servers\n  roles: [{'r' * 200_000}]\n"))
    assert _peak() - before < 20 * MEGABYTE
    assert error.code == "ansible_failed"


def test_strange_values_in_results_can_be_stored(player: Player) -> None:
    told = player.tasks(DIE % "strange").of("web-1").results["die"]
    _assert_storable(told)
    assert (told["nul"], told["surrogate"], told["bytes"]) == ("a\ufffdb", "a\ufffdb", "a\ufffdb")
    assert told["infinite"] == "inf"
    assert told["huge"].startswith(bounded.MARK)
    assert told["key\ufffd"] == 1


def test_strange_values_in_a_failure_can_be_stored(player: Player) -> None:
    error = _error(player.tasks(DIE % "'strange failure'"))
    _assert_storable(error.message)
    assert "no\ufffd \ufffd good" in error.message


def test_a_deeply_nested_result_is_cut(player: Player) -> None:
    told: Any = player.tasks(DIE % "nested").of("web-1").results["die"]
    depth = 0
    while isinstance(told, dict):
        told = told.get("deeper")
        depth += 1
    assert told.startswith(bounded.MARK)
    assert depth < 2 * bounded.DEEPEST


def test_a_result_that_is_too_deep_for_ansible_fails_the_run(player: Player) -> None:
    error = _error(player.tasks(DIE % "'nested too deep'"))
    assert error.code == "ansible_failed"
    assert "recursion" in error.message


def test_a_secret_that_is_cut_in_two_is_masked(player: Player) -> None:
    told = player.tasks(DIE % "'cut a secret'").of("web-1").results["die"]["stdout"]
    assert bounded.MARK in told
    assert "hunter2" not in told
    assert "hunt" not in told


def test_output_that_is_no_utf8_fails_the_task_and_not_the_worker(player: Player) -> None:
    """Ansible itself refuses it, in words that quote it."""
    error = _error(player.tasks(json.dumps([{"ansible.builtin.shell": r"printf 'a\377b'"}])))
    assert error.code == "playbook_failed"
    assert "UTF" in error.message
    _assert_storable(error.message)


def test_a_nul_in_a_commands_output_can_be_stored(player: Player) -> None:
    result = player.tasks(json.dumps([{"ansible.builtin.shell": r"printf 'a\000b'"}]))
    assert result.of("web-1").results["ansible.builtin.shell"]["stdout"] == "a\ufffdb"


@pytest.mark.parametrize("ended_by", ["time", "cancel"])
def test_a_run_that_ignores_signals_ends_with_what_it_started(player: Player, ended_by: str) -> None:
    """Ansible, its forks, and a command in a session of its own that nothing but SIGKILL ends."""
    began = threading.Event()
    deaf = "trap '' TERM INT HUP; setsid sleep 300 & sleep 300; sleep 300"
    tasks = json.dumps([{"name": "Ignore", "ansible.builtin.shell": deaf}])

    def is_cancelled() -> bool:
        sleeping = [pid for pid in processes_of(player.folder) if _name(pid) == "sleep"]
        if len(sleeping) == 2:
            began.set()
        return ended_by == "cancel" and began.is_set()

    result = player.tasks(tasks, is_cancelled=is_cancelled, timeout_seconds=60 if ended_by == "cancel" else 6)
    assert began.is_set()
    assert not processes_of(player.folder)
    error = result.failure
    assert error is not None
    assert error.code == ("run_timeout" if ended_by == "time" else "ansible_failed")


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.mark.parametrize("how", ["be deaf"])
def test_a_deaf_plugin_is_ended(player: Player, how: str) -> None:
    result = player.tasks(DIE % f"'{how}'", timeout_seconds=3)
    assert _error_of(result).code == "run_timeout"


def _error_of(result: runner.RunResult) -> ServerDeploymentError:
    assert result.failure is not None
    return result.failure


def test_a_directory_that_exists_is_left_alone(player: Player) -> None:
    directory = player.folder / "somebody's"
    directory.mkdir()
    (directory / "file").write_text("theirs")
    assert _error(player.tasks("[]", directory=directory)).code == "worker_disk"
    assert (directory / "file").read_text() == "theirs"


def test_ansible_that_cannot_be_started(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    error = _error(player.tasks("[]"))
    assert error.code == "ansible_failed"
    assert "/nowhere/python" in error.message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def _fill(disk: Path) -> None:
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


@pytest.mark.parametrize("free", [0, 4096, 3 * 4096, 5 * 4096, 7 * 4096])
def test_a_full_disk_fails_the_run_and_says_so(player: Player, small_disk: Path, free: int) -> None:
    """Wherever it strikes: the run's directory, its inventory, ansible-runner's files, Ansible's own, or reports."""
    _fill(small_disk)
    os.truncate(small_disk / "ballast", 64 * 1024 - free)
    error = _error(
        player.tasks("[{ansible.builtin.debug: {msg: \"{{ 'x' * 30000 }}\"}}]", directory=small_disk / "run")
    )
    assert error.code == "worker_disk", error.message
    assert os.strerror(errno.ENOSPC) in error.message


def test_a_full_disk_in_the_middle_of_a_run(player: Player, small_disk: Path) -> None:
    def fill(event: TaskEvent) -> None:
        if event.kind is Kind.OK and not (small_disk / "ballast").exists():
            _fill(small_disk)

    result = player.tasks(
        "[{ansible.builtin.pause: {seconds: 1}}, {ansible.builtin.pause: {seconds: 3}}, "
        "{ansible.builtin.debug: {msg: \"{{ 'x' * 30000 }}\"}}]",
        directory=small_disk / "run",
        on_event=fill,
    )
    assert _error(result).code == "worker_disk"


def test_reports_that_cannot_be_read_end_the_run(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """ansible-runner then leaves Ansible running."""
    read = json.load

    def load(file: Any, **options: Any) -> Any:
        document = read(file, **options)
        if document.get("event") == "runner_on_start":
            raise ValueError("Exceeds the limit (4300 digits) for integer string conversion")
        return document

    monkeypatch.setattr("ansible_runner.runner.json.load", load)
    assert _error(player.tasks("[{ansible.builtin.pause: {seconds: 60}}]")).code == "ansible_failed"


def test_numbers_stay_numbers_and_ordinary_results_stay_as_they_are() -> None:
    ordinary = {"a": [1, 2.5, None, True, {"b": "text"}], "c": {}, "d": 2**63}
    assert bounded.bounded(ordinary) == ordinary
    assert bounded.bounded(math.nan) == "nan"


def test_what_must_not_be_told_stays_marked_however_much_is_cut() -> None:
    results = [{"stdout": "x" * 10**6, "_ansible_no_log": True} for _ in range(100)]
    for item in bounded.bounded({"results": results})["results"]:
        assert isinstance(item, str) or item["_ansible_no_log"] is True
