"""Runs that go wrong end, say why, and leave nothing running and nothing behind."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from jotunheim.ansible import runner
from jotunheim.ansible.events import Kind, TaskEvent
from jotunheim.exceptions.service import ServerDeploymentError
from tests.support.processes import wait_for

SLOW = """
- hosts: servers
  gather_facts: false
  tasks:
    - name: Begin
      ansible.builtin.assert: {that: true}
    - name: Wait
      ansible.builtin.pause: {seconds: 60}
"""


def _run(
    tmp_path: Path,
    playbook: str,
    *,
    on_event: Callable[[TaskEvent], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    timeout_seconds: int = 60,
) -> runner.RunResult:
    file = tmp_path / "playbook.yml"
    file.write_text(playbook)
    try:
        return runner.run(
            runner.Run(
                playbook=str(file),
                hosts=[
                    runner.Host("web-1", "job", 1, {"greeting": "{{ hello }}"}, secrets=["hunter2-hunter2"])
                ],
                directory=tmp_path / "run",
                timeout_seconds=timeout_seconds,
                on_event=on_event,
                is_cancelled=is_cancelled,
                environment={},
            )
        )
    finally:
        assert not (tmp_path / "run").exists()
        running = subprocess.run(
            ["ps", "-e", "-o", "args="], capture_output=True, text=True, check=True
        ).stdout
        assert str(file) not in running


def test_results_and_events_come_back_with_secrets_masked(tmp_path: Path) -> None:
    told: list[TaskEvent] = []
    playbook = """
- hosts: servers
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug: {msg: "{{ greeting }} hunter2-hunter2"}
"""
    result = _run(tmp_path, playbook, on_event=told.append)
    assert [(event.kind, event.task) for event in told] == [(Kind.STARTED, "Say it"), (Kind.OK, "Say it")]
    assert result.of("web-1").results["ansible.builtin.debug"]["msg"] == "{{ hello }} ********"


@pytest.mark.parametrize(
    ("playbook", "code", "said"),
    [
        ("- hosts: servers\n  tasks: [", "ansible_failed", "YAML"),
        ("- hosts: servers\n  roles: [there_is_no_such_role]", "ansible_failed", "there_is_no_such_role"),
        ("- hosts: nobody\n  tasks: []", "ansible_failed", "before it had finished"),
        (
            "- hosts: servers\n  gather_facts: false\n  tasks: [{ansible.builtin.fail: {msg: bad hunter2-hunter2}}]",
            "playbook_failed",
            "bad ********",
        ),
    ],
)
def test_a_broken_playbook_says_what_is_wrong(tmp_path: Path, playbook: str, code: str, said: str) -> None:
    result = _run(tmp_path, playbook)
    with pytest.raises(ServerDeploymentError) as raised:
        result.of("web-1")
    assert raised.value.code == code
    assert said in raised.value.message
    assert "Traceback" not in raised.value.message


def _processes_of(folder: Path) -> list[str]:
    """Processes that work for a run in this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder) in file.read_text():
                found.append(file.parent.name)
    return found


def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    began = time.monotonic()
    result = _run(tmp_path, SLOW, timeout_seconds=3)
    assert time.monotonic() - began < 20
    with pytest.raises(ServerDeploymentError) as raised:
        result.of("web-1")
    assert (raised.value.code, raised.value.retryable) == ("run_timeout", True)
    wait_for(lambda: not _processes_of(tmp_path), "the end of what Ansible forked")


def test_a_run_can_be_cancelled(tmp_path: Path) -> None:
    cancelled = threading.Event()
    result = _run(tmp_path, SLOW, on_event=lambda _: cancelled.set(), is_cancelled=cancelled.is_set)
    assert result.status == "canceled"
    wait_for(lambda: not _processes_of(tmp_path), "the end of what Ansible forked")


def test_a_listener_that_breaks_stops_the_run(tmp_path: Path) -> None:
    def listen(event: TaskEvent) -> None:
        raise RuntimeError(f"cannot write {event.task} down")

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="cannot write Begin down"):
        _run(tmp_path, SLOW, on_event=listen)
    assert time.monotonic() - began < 20


def test_a_run_does_not_inherit_the_workers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS_OWN", "canary")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "somebody-elses.cfg"))
    playbook = """
- hosts: servers
  gather_facts: false
  tasks:
    - ansible.builtin.assert:
        that:
          - lookup('ansible.builtin.env', 'WORKERS_OWN') == ''
          - lookup('ansible.builtin.env', 'HOME') == home
      vars: {home: %s}
""" % os.environ["HOME"]  # noqa: UP031 - braces belong to Jinja
    assert _run(tmp_path, playbook).of("web-1").failure is None
