"""Following jobs when streams are cut, blocked, or the service is away."""

from collections.abc import Iterator
from typing import Any, Self, cast

import pytest

from jotunheim.cli import waiting
from jotunheim.cli.client import Api, UnreachableError
from jotunheim.cli.errors import CommandError, ExitCode

JOB = "b30f04bb-39e8-458c-aba5-11de082c4b81"


class FakeApi:
    """A service whose streams and pages a test decides."""

    def __init__(self, streams: list[list[int] | None], pages: list[dict[str, Any] | None]) -> None:
        self._streams = streams
        self._pages = pages
        self.asked_after: list[int] = []

    def again(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def events(self, job_id: str, after: int) -> Iterator[dict[str, Any]]:
        self.asked_after.append(after)
        for seq in self._streams.pop(0) or []:
            yield {"seq": seq, "job_id": job_id}
        raise UnreachableError("cut", "wait")

    def get(self, path: str, after: int | None = None) -> dict[str, Any]:
        if path.endswith("/events"):
            page = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
            if page is None:
                raise UnreachableError("away", "wait")
            return {"next_after": after, **page}
        return {"job": {"id": JOB, "status": "succeeded"}}


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.seqs: list[int] = []

    def on_event(self, job_id: str, event: dict[str, Any]) -> None:
        assert job_id == JOB
        self.seqs.append(event["seq"])


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


def follow(api: FakeApi, timeout: float | None = 10) -> list[int]:
    heard = Heard()
    ended = waiting.wait_for(cast("Api", api), [JOB], timeout, heard)
    assert ended[JOB]["status"] == "succeeded"
    return heard.seqs


def test_a_cut_stream_is_resumed_behind_the_last_event() -> None:
    unfinished = {"events": [], "complete": False}
    api = FakeApi([[1, 2], [5]], [unfinished, {"events": [{"seq": 7}], "next_after": 7, "complete": True}])
    assert follow(api) == [1, 2, 5, 7]
    assert api.asked_after == [0, 2]


def test_events_are_polled_where_streams_do_not_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TOLERATED_SILENCE_SECONDS", 0)
    api = FakeApi(
        [None],
        [
            {"events": [{"seq": 1}], "next_after": 1, "complete": False},
            {"events": [{"seq": 2}], "next_after": 2, "complete": True},
        ],
    )
    assert follow(api) == [1, 2]


def test_a_service_that_stays_away_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TOLERATED_SILENCE_SECONDS", 0)
    with pytest.raises(CommandError) as ended:
        follow(FakeApi([None], [None]))
    assert ended.value.exit_code is ExitCode.UNREACHABLE


def test_the_timeout_ends_the_waiting_and_says_how_to_go_on() -> None:
    with pytest.raises(CommandError) as ended:
        follow(FakeApi([None] * 1000, [{"events": [], "complete": False}]), timeout=0.05)
    assert ended.value.exit_code is ExitCode.TIMEOUT
    assert ended.value.hint == f"jotunheim job watch {JOB}"
