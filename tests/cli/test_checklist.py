"""The live list of steps, on a terminal and elsewhere."""

import io
from collections.abc import Callable
from typing import Any, cast

import pytest
from rich.console import Console

from jotunheim.cli import checklist as module
from jotunheim.cli.board import JobBoard
from jotunheim.cli.checklist import Checklist
from jotunheim.cli.client import Api

AT = "2026-01-01T00:00:0{}Z"


class FakeApi:
    """Knows how far every job has come."""

    def get(self, path: str) -> dict[str, Any]:
        assert path.startswith("/jobs/")
        return {"job": {"progress": 25}}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Makes the list believe in a terminal; returns what was written there."""
    written = io.StringIO()
    made = Console(file=written, force_terminal=True, width=100, markup=False, color_system=None)
    monkeypatch.setattr(module, "console", lambda: made)
    return lambda: written.getvalue()


def event(type_: str, second: int, **data: Any) -> dict[str, Any]:
    return {"type": type_, "at": AT.format(second), "data": data}


BUILD = [
    event("job.queued", 0),
    event("job.started", 1, attempt=1),
    event("step.started", 1, name="Clone"),
    event("step.finished", 3, name="Clone", status="ok", changed=True),
    event("step.started", 3, name="Start"),
    event("step.finished", 4, name="Start", status="failed", changed=False),
    event("job.finished", 5, status="failed", error={"message": "no \x1b[31mdisk"}),
]


def test_without_a_terminal_each_end_is_a_line_with_the_services_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Checklist() as checklist:
        board = JobBoard(cast("Api", FakeApi()), checklist, {"1": "Building web-1"})
        for entry in BUILD:
            board.on_event("1", entry)
    assert capsys.readouterr().out.splitlines() == [
        "  ok        2.0 s  Clone  changed",
        "  failed    1.0 s  Start",
        "failed    5.0 s  Building web-1  no \\x1b[31mdisk",
    ]


def test_of_several_jobs_only_the_job_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Checklist() as checklist:
        board = JobBoard(cast("Api", FakeApi()), checklist, {"1": "Building web-1", "2": "Building web-2"})
        for entry in BUILD:
            board.on_event("1", entry)
        board.on_event("2", event("job.queued", 0))
        board.on_event("2", event("job.finished", 2, status="succeeded", error=None))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "failed    5.0 s  Building web-1  no \\x1b[31mdisk",
        "ok        2.0 s  Building web-2  done",
    ]


def test_a_step_whose_worker_was_lost_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    with Checklist() as checklist:
        board = JobBoard(cast("Api", FakeApi()), checklist, {"1": "Building"})
        for entry in (
            *BUILD[:3],
            event("job.started", 9, attempt=2),
            event("job.finished", 9, status="succeeded", error=None),
        ):
            board.on_event("1", entry)
    assert capsys.readouterr().out.splitlines()[0].startswith("  lost ")


def test_a_terminal_shows_progress_and_the_state_of_all(terminal: Callable[[], str]) -> None:
    with Checklist() as checklist:
        board = JobBoard(cast("Api", FakeApi()), checklist, {"1": "Building [b]web-1[/b]"})
        for entry in BUILD[:4]:
            board.on_event("1", entry)
        shown = terminal()
        for entry in BUILD[4:]:
            board.on_event("1", entry)
    last = terminal().removeprefix(shown)
    assert "✓   Clone" in last
    assert "✗   Start" in last
    assert "✗ Building [b]web-1[/b]" in last
    assert "no \\x1b[31mdisk" in last


def test_what_runs_when_an_error_comes_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with Checklist() as checklist:
            checklist.begin("Waiting")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().out.startswith("failed ")


def test_silence_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Checklist(silent=True) as checklist:
        checklist.end(checklist.begin("Waiting"))
    assert capsys.readouterr().out == ""
