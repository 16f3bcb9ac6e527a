"""Runs of small playbooks, by the function that workers use."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from jotunheim.ansible import runner
from jotunheim.ansible.events import TaskEvent
from jotunheim.ansible.warm import WarmAnsible
from tests.support.processes import wait_for

ACTIONS = Path(__file__).parent / "action_plugins"
SECRET = "hunter2-hunter2"
LOCAL = {
    "greeting": "{{ hello }}",
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
}


@dataclass
class Player:
    """Runs playbooks in a folder of its own."""

    folder: Path

    def tasks(self, tasks: str, **wanted: object) -> runner.RunResult:
        """Run a play of these tasks, written as YAML's list."""
        return self.run(f"- hosts: servers\n  gather_facts: false\n  tasks: {tasks}\n", **wanted)

    def run(
        self,
        playbook: str,
        *,
        on_event: Callable[[TaskEvent], None] = lambda _: None,
        is_cancelled: Callable[[], bool] = lambda: False,
        timeout_seconds: int = 60,
        directory: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> runner.RunResult:
        """Run a playbook; whatever comes of it, nothing is left behind."""
        file = self.folder / "playbook.yml"
        file.write_text(playbook)
        directory = directory or self.folder / "run"
        existed = directory.exists()
        try:
            return runner.run(
                runner.Run(
                    playbook=str(file),
                    hosts=[runner.Host("web-1", "job", 1, LOCAL, secrets=[SECRET])],
                    directory=directory,
                    timeout_seconds=timeout_seconds,
                    on_event=on_event,
                    is_cancelled=is_cancelled,
                    environment=environment or {},
                )
            )
        finally:
            assert directory.exists() == existed
            running = subprocess.run(
                ["ps", "-e", "-o", "args="], capture_output=True, text=True, check=True
            ).stdout
            assert str(file) not in running


def open_descriptors() -> dict[str, str]:
    """What this process has open, by number."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[entry.name] = str(entry.readlink())
    return found


def children_of(pid: int) -> list[str]:
    """The processes that a process started, and that it has not waited for."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it ended
        return []


def processes_of(folder: Path) -> list[str]:
    """Processes that were started for a run in this folder, and live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            texts = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in texts and entry.name != str(os.getpid()):
            found.append(entry.name)
    return found


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmAnsible]:
    """A loaded Ansible."""
    started = runner.keep_warm()
    started.start()
    yield started
    started.close()


@pytest.fixture(params=["plain", "warm"])
def mode(request: pytest.FixtureRequest, warm: WarmAnsible, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether Ansible is started anew for each run, or forked."""
    monkeypatch.setattr(runner, "_warm", warm if request.param == "warm" else None)
    return str(request.param)


@pytest.fixture
def player(tmp_path: Path, mode: str, warm: WarmAnsible) -> Iterator[Player]:
    """Runs playbooks; at the end no process and no open file of theirs is left."""
    (tmp_path / "action_plugins").symlink_to(ACTIONS)
    wait_for(warm.pid, "the loaded Ansible", seconds=60)  # loading it opens files, too
    before = open_descriptors()
    parent = warm.pid()
    yield Player(tmp_path)
    wait_for(lambda: not processes_of(tmp_path), "the end of what Ansible started")
    wait_for(lambda: parent is None or not children_of(parent), "the end of what was forked")
    assert len(open_descriptors()) <= len(before), (before, open_descriptors())
