"""Ansible that is loaded once: a run in it is as one by itself, sees nothing of others, and dies with its worker."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jotunheim import bounded
from jotunheim.ansible import runner
from jotunheim.ansible.warm import WarmAnsible
from tests.ansible.conftest import ACTIONS, Player, children_of, processes_of
from tests.support.processes import wait_for

TELL = "[{name: Tell, die: {how: tell}}]"
MEGABYTE = 1024 * 1024


def _told(player: Player, **wanted: Any) -> dict[str, Any]:
    told: dict[str, Any] = dict(player.tasks(TELL, **wanted).of("web-1").results["die"])
    return told


def _comparable(told: dict[str, Any], folder: Path) -> dict[str, Any]:
    kept = {name: value for name, value in told.items() if name not in ("parent", "random", "descriptors")}
    text = re.sub(r"ansible-local-\w+", "ansible-local", json.dumps(kept).replace(str(folder), "FOLDER"))
    compared: dict[str, Any] = json.loads(text)
    return compared


def _kinds(told: dict[str, Any]) -> Counter[str]:
    return Counter(re.sub(r"#\d+", "#", name) for name in told["descriptors"])


@pytest.fixture
def other(tmp_path: Path) -> Player:
    """A second folder."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "action_plugins").symlink_to(ACTIONS)
    return Player(folder)


@pytest.mark.parametrize("mode", ["warm"], indirect=True)
def test_a_run_has_the_surroundings_that_it_has_in_a_process_of_its_own(
    player: Player, warm: WarmAnsible, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, directory, umask, descriptors, session, terminal, signals, and every setting of Ansible."""
    before = os.umask(0o027)
    try:
        in_parent = _told(player)
        monkeypatch.setattr(runner, "_warm", None)
        alone = _told(player)
    finally:
        os.umask(before)
    assert in_parent["parent"] == warm.pid()
    assert alone["parent"] == os.getpid()
    assert _comparable(in_parent, player.folder) == _comparable(alone, player.folder)
    # The lifeline is the only one that it has besides.
    assert _kinds(in_parent) - _kinds(alone) == {"pipe": 1}
    assert not _kinds(alone) - _kinds(in_parent)
    assert alone["umask"] == "0027"
    assert alone["has a terminal"]
    assert alone["leads its session and group"]


def test_a_run_sees_nothing_of_the_one_before(player: Player, other: Player) -> None:
    first = _told(player, environment={"CANARY": "canary-1", "TZ": "Asia/Tokyo"})
    second = _told(other)
    assert first["environment"]["CANARY"] == "canary-1"
    assert "canary-1" not in json.dumps(second)
    assert "Tokyo" not in json.dumps(second)
    assert str(player.folder / "run") not in json.dumps(second)
    assert first["random"] != second["random"]


def test_facts_and_variables_are_a_runs_own(player: Player) -> None:
    player.tasks("[{ansible.builtin.set_fact: {canary: 1, cacheable: true}}]").of("web-1")
    player.tasks(
        "[{ansible.builtin.assert: {that: [canary is not defined, ansible_facts.canary is not defined]}}]"
    ).of("web-1")


def test_runs_at_once_do_not_mix(tmp_path: Path, mode: str) -> None:
    players = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "action_plugins").symlink_to(ACTIONS)
        players.append(Player(folder))
    began = threading.Barrier(len(players))

    def tell(number: int) -> dict[str, Any]:
        began.wait()
        return _told(players[number], environment={"CANARY": f"canary-{number}"})

    with ThreadPoolExecutor(len(players)) as pool:
        for number, told in enumerate(pool.map(tell, range(len(players)))):
            assert re.findall(r"canary-\d", json.dumps(told)) == [f"canary-{number}"]
            assert told["environment"]["ANSIBLE_HOME"] == str(players[number].folder / "run" / "home")
            assert told["settings"]["ANSIBLE_HOME"] == str(players[number].folder / "run" / "home")


def test_a_run_with_settings_of_ansible_of_its_own_has_them(player: Player) -> None:
    """Some are read when Ansible is loaded, and kept in its classes."""
    tasks = "[{name: Wait, ansible.builtin.command: sleep 30}]"
    error = player.tasks(tasks, environment={"ANSIBLE_TASK_TIMEOUT": "1"}).hosts["web-1"].error
    assert error is not None
    assert "Timed out after 1 second" in error.message
    assert _told(player)["settings"]["TASK_TIMEOUT"] == "0"


def test_a_signal_reaches_the_run(player: Player) -> None:
    """As somebody sends it who looks for the process that ansible-runner started."""

    def end(_: object) -> None:
        started = [pid for pid in children_of_this() if pid in processes_of(player.folder)]
        os.kill(int(started[0]), signal.SIGTERM)

    result = player.tasks("[{ansible.builtin.pause: {seconds: 60}}]", on_event=end)
    assert result.failure is not None
    assert result.failure.code == "ansible_killed"


def children_of_this() -> list[str]:
    """The processes that this one started, by any thread."""
    return [
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]


@pytest.mark.parametrize("mode", ["warm"], indirect=True)
def test_cancel_works_when_the_loaded_ansible_is_paused(player: Player, warm: WarmAnsible) -> None:
    began = threading.Event()
    parent = warm.pid()
    assert parent

    def pause(_: object) -> None:
        os.kill(parent, signal.SIGSTOP)
        began.set()

    try:
        result = player.tasks(
            "[{ansible.builtin.pause: {seconds: 60}}]", on_event=pause, is_cancelled=began.is_set
        )
        assert result.status == "canceled"
        wait_for(lambda: all(_is_dead(pid) for pid in children_of(parent)), "the end of the run")
    finally:
        os.kill(parent, signal.SIGCONT)


def _is_dead(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("mode", ["warm"], indirect=True)
def test_a_loaded_ansible_that_dies_is_replaced(
    player: Player, warm: WarmAnsible, caplog: pytest.LogCaptureFixture
) -> None:
    parent = warm.pid()
    assert parent
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: _is_dead(str(parent)), "its end")
    again = _told(player)["parent"]
    assert again == warm.pid() != parent
    assert [record.levelno for record in caplog.records if "loaded Ansible ended" in record.message] == [
        logging.WARNING
    ]


@pytest.mark.parametrize("mode", ["warm"], indirect=True)
def test_a_run_in_a_loaded_ansible_that_dies_fails_clearly(player: Player, warm: WarmAnsible) -> None:
    parent = warm.pid()
    assert parent
    result = player.tasks(
        "[{ansible.builtin.pause: {seconds: 60}}]", on_event=lambda _: os.kill(parent, signal.SIGKILL)
    )
    assert result.failure is not None
    assert result.failure.code == "ansible_killed"
    assert _told(player)["parent"] == warm.pid() != parent


@pytest.mark.parametrize("mode", ["warm"], indirect=True)
def test_a_changed_file_replaces_the_loaded_ansible_and_running_runs_end_well(
    player: Player, other: Player, warm: WarmAnsible, tmp_path: Path
) -> None:
    parent = warm.pid()
    assert warm._parent
    assert bounded.__file__ in warm._parent.files
    upgraded = tmp_path / "module.py"
    upgraded.touch()
    warm._parent.files = {**warm._parent.files, str(upgraded): upgraded.stat().st_mtime_ns}
    others: list[dict[str, Any]] = []

    def upgrade(_: object) -> None:
        if not others:
            upgraded.write_text("new = True")
            others.append(_told(other))

    player.tasks("[{ansible.builtin.pause: {seconds: 1}}]", on_event=upgrade).of("web-1")
    assert others[0]["parent"] == warm.pid() != parent
    wait_for(lambda: _is_dead(str(parent)), "the end of the stale one")


def test_a_changed_playbook_is_read(player: Player) -> None:
    for word in ("one", "two"):
        result = player.tasks(f"[{{ansible.builtin.debug: {{msg: {word}}}}}]")
        assert result.of("web-1").results["ansible.builtin.debug"]["msg"] == word


def test_without_a_loaded_ansible_runs_go_on(
    player: Player, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"PATH": os.environ["PATH"]}
    none = WarmAnsible(environment)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        none.start()
        wait_for(none._settled.is_set, "the try")
    assert "cannot be kept loaded" in caplog.text
    assert none.pid() is None
    none.close()
    monkeypatch.setattr(runner, "_warm", none)
    assert _told(player)["parent"] == os.getpid()


def test_the_loaded_ansible_ends_with_its_worker(tmp_path: Path) -> None:
    script = (
        "import time\nfrom jotunheim.ansible import runner\nwarm = runner.keep_warm()\nwarm.start()\nwarm._settled.wait()\n"
        "print(warm.pid(), warm._parent.directory, flush=True)\ntime.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    with worker.stdout:
        pid, directory = worker.stdout.readline().split()
    assert Path(directory).stat().st_mode & 0o777 == 0o700
    assert Path(directory, "socket").is_socket()
    worker.kill()
    worker.wait()
    wait_for(lambda: _is_dead(pid), "the end of the loaded Ansible")
    wait_for(lambda: not Path(directory).exists(), "the end of its directory")


def test_the_loaded_ansible_is_small(warm: WarmAnsible) -> None:
    status = Path(f"/proc/{warm.pid()}/status").read_text()
    assert 1024 * int(re.search(r"VmRSS:\s*(\d+)", status)[1]) < 110 * MEGABYTE  # type: ignore[index]
