"""Runs that go wrong end, say why, and leave nothing running and nothing behind."""

import os
import threading
import time
from pathlib import Path

import pytest

from jotunheim.ansible.events import Kind, TaskEvent
from jotunheim.exceptions.service import ServerDeploymentError
from tests.ansible.conftest import Player

SLOW = """
- hosts: servers
  gather_facts: false
  tasks:
    - name: Begin
      ansible.builtin.assert: {that: true}
    - name: Wait
      ansible.builtin.pause: {seconds: 60}
"""


def test_results_and_events_come_back_with_secrets_masked(player: Player) -> None:
    told: list[TaskEvent] = []
    playbook = """
- hosts: servers
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug: {msg: "{{ greeting }} hunter2-hunter2"}
"""
    result = player.run(playbook, on_event=told.append)
    assert [(event.kind, event.task) for event in told] == [(Kind.STARTED, "Say it"), (Kind.OK, "Say it")]
    assert result.of("web-1").results["ansible.builtin.debug"]["msg"] == "{{ hello }} ********"


@pytest.mark.parametrize(
    ("playbook", "code", "said"),
    [
        ("- hosts: servers\n  tasks: [", "ansible_failed", "YAML"),
        ("- hosts: servers\n  roles: [there_is_no_such_role]", "ansible_failed", "there_is_no_such_role"),
        ("- hosts: nobody\n  tasks: []", "ansible_failed", "without having done anything"),
        (
            "- hosts: servers\n  gather_facts: false\n  tasks: [{ansible.builtin.fail: {msg: bad hunter2-hunter2}}]",
            "playbook_failed",
            "bad ********",
        ),
    ],
)
def test_a_broken_playbook_says_what_is_wrong(player: Player, playbook: str, code: str, said: str) -> None:
    result = player.run(playbook)
    with pytest.raises(ServerDeploymentError) as raised:
        result.of("web-1")
    assert raised.value.code == code
    assert said in raised.value.message
    assert "Traceback" not in raised.value.message


def test_a_run_that_takes_too_long_is_stopped(player: Player) -> None:
    began = time.monotonic()
    result = player.run(SLOW, timeout_seconds=3)
    assert time.monotonic() - began < 20
    with pytest.raises(ServerDeploymentError) as raised:
        result.of("web-1")
    assert (raised.value.code, raised.value.retryable) == ("run_timeout", True)


def test_a_run_can_be_cancelled(player: Player) -> None:
    cancelled = threading.Event()
    result = player.run(SLOW, on_event=lambda _: cancelled.set(), is_cancelled=cancelled.is_set)
    assert result.status == "canceled"


def test_a_listener_that_breaks_stops_the_run(player: Player) -> None:
    def listen(event: TaskEvent) -> None:
        raise RuntimeError(f"cannot write {event.task} down")

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="cannot write Begin down"):
        player.run(SLOW, on_event=listen)
    assert time.monotonic() - began < 20


def test_a_run_does_not_inherit_the_workers_environment(
    player: Player, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert player.run(playbook).of("web-1").failure is None
