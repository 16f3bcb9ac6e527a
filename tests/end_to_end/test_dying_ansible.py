"""Jobs whose Ansible dies badly: each fails clearly, the worker goes on, and a retry finishes what was asked."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jotunheim
from jotunheim.ansible import paths
from tests.ansible.conftest import ACTIONS
from tests.support import databases
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

PLAYBOOK = "server_power.yml"


class Broken:
    """A service whose worker has playbooks of its own: a folder as in a checkout, with the real package and roles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.playbooks = folder / "playbooks"
        self.playbooks.mkdir(parents=True)
        (folder / "jotunheim").symlink_to(Path(jotunheim.__file__).parent)
        (folder / "roles").symlink_to(paths.ROLES)
        (self.playbooks / "action_plugins").symlink_to(ACTIONS)
        for file in paths.PLAYBOOKS.glob("*.yml"):
            (self.playbooks / file.name).symlink_to(file)
        self.service: Service
        self.server: dict[str, Any]

    def job(self, playbook: str) -> dict[str, Any]:
        """The job of a change of power by this playbook. Then the right one is there again."""
        (self.playbooks / PLAYBOOK).unlink()
        (self.playbooks / PLAYBOOK).write_text(playbook)
        asked = self.service.ask(f"servers/{self.server['id']}/power", {"action": "stop"})
        job = self.service.finished(asked["job"]["id"])
        (self.playbooks / PLAYBOOK).unlink()
        (self.playbooks / PLAYBOOK).symlink_to(paths.PLAYBOOKS / PLAYBOOK)
        return job

    def tasks(self, tasks: str) -> dict[str, Any]:
        """The same, with a play of these tasks."""
        return self.job(f"- hosts: servers\n  gather_facts: false\n  tasks: {tasks}\n")

    def descriptors(self) -> int:
        """How many files the worker has open."""
        return len(list(Path(f"/proc/{self.service.workers[0].pid}/fd").iterdir()))


def _started(state: Path, sandbox: Sandbox, settings: dict[str, str]) -> Iterator[Broken]:
    broken = Broken(state / "checkout")
    with Service.start(
        state / "service", settings={"PYTHONPATH": str(broken.folder), **settings}
    ) as broken.service:
        broken.service.add_infrastructure(sandbox)
        broken.server = broken.service.built("broken")
        yield broken


@pytest.fixture(scope="module")
def broken(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """A service on SQLite, and a running server."""
    yield from _started(tmp_path_factory.mktemp("broken"), sandbox, {})


@pytest.fixture(scope="module")
def broken_on_postgresql(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """The same on PostgreSQL."""
    state = tmp_path_factory.mktemp("broken-on-postgresql")
    with databases.postgresql() as server:
        yield from _started(state / "state", sandbox, {"JOTUNHEIM_DATABASE_URL": server.url})


def _assert_failed_clearly(job: dict[str, Any], code: str, *, retryable: bool) -> None:
    assert job["status"] == "failed", job
    error = job["error"]
    assert (error["code"], error["retryable"]) == (code, retryable), error
    assert error["hint"]
    assert "Traceback" not in error["message"]
    assert len(error["message"]) < 1300


@pytest.mark.parametrize(
    ("playbook", "code", "retryable"),
    [
        ("- hosts: servers\n  tasks: [", "ansible_failed", False),
        ("- hosts: servers\n  roles: [there_is_no_such_role]", "ansible_failed", False),
        ("{}", "ansible_failed", False),
        ("- hosts: servers\n  gather_facts: false\n  tasks: [{die: {how: raise}}]", "playbook_failed", False),
        (
            "- hosts: servers\n  gather_facts: false\n  tasks: [{die: {how: segfault}}]",
            "ansible_killed",
            True,
        ),
        (
            "- hosts: servers\n  gather_facts: false\n  tasks: [{die: {how: kill ansible}}]",
            "ansible_killed",
            True,
        ),
    ],
)
def test_a_job_fails_clearly_and_a_retry_finishes_it(
    broken: Broken, playbook: str, code: str, *, retryable: bool
) -> None:
    job = broken.job(playbook)
    _assert_failed_clearly(job, code, retryable=retryable)
    before = broken.descriptors()
    broken.service.ask(f"jobs/{job['id']}/retry")
    assert broken.service.finished(job["id"])["status"] == "succeeded"
    assert list((broken.service.state / "runs").iterdir()) == []
    # A duty that had its first turn meanwhile keeps its connection: three files.
    wait_for(lambda: broken.descriptors() <= before + 5, "the worker to close what it opened")


def test_much_output_leaves_little_in_steps_and_events(broken: Broken) -> None:
    job = broken.tasks("[{name: Talk, die: {how: much and fail}}]")
    _assert_failed_clearly(job, "playbook_failed", retryable=False)
    events = broken.service.read(f"jobs/{job['id']}/events")
    assert len(json.dumps(events)) < 100_000


def test_a_full_disk_fails_the_job_and_the_next_one_works(broken: Broken) -> None:
    runs = broken.service.state / "runs"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    try:
        job = broken.tasks("[{ansible.builtin.debug: {msg: fine}}]")
        assert list(runs.iterdir()) == []
    finally:
        subprocess.run(["umount", str(runs)], check=True)
    _assert_failed_clearly(job, "worker_disk", retryable=True)
    broken.service.ask(f"jobs/{job['id']}/retry")
    assert broken.service.finished(job["id"])["status"] == "succeeded"


@pytest.mark.parametrize("how", ["strange failure", "strange"])
def test_strange_bytes_do_not_break_postgresql(broken_on_postgresql: Broken, how: str) -> None:
    tasks = json.dumps(
        [{"name": "Odd", "die": {"how": how}}, {"name": "Stop", "die": {"how": "strange failure"}}]
    )
    job = broken_on_postgresql.tasks(tasks)
    _assert_failed_clearly(job, "playbook_failed", retryable=False)
    assert "no\ufffd \ufffd good" in job["error"]["message"]
