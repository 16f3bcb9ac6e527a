"""Live streams: many of one user take no more of the API's time than some."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from jotunheim.routes import streams
from jotunheim.services import jobs
from tests.support.in_process import InProcess
from tests.support.processes import wait_for
from tests.support.world import OWNER, World

STREAMS = 12


def test_many_streams_of_one_user_are_looked_after_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve streams where two go at full pace: each looks every 1.8 seconds, not every 0.3."""
    looks = 0
    read: Callable[..., Any] = jobs.read_events

    def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return read(*arguments)

    monkeypatch.setattr(jobs, "read_events", counted)
    monkeypatch.setattr(streams, "STREAMS_AT_FULL_PACE", 2)
    with InProcess.start(tmp_path) as service:
        world = World.made(service, host="127.0.0.1", port=1, token_id="root@pam!streams", secret="s")
        job = world.job(world.server(OWNER), status="running", finished_at=None)
        headers = {"Authorization": f"Bearer {world.tokens[OWNER]}", "Accept": "text/event-stream"}
        url = f"{service.url}/client/jobs/{job.id}/events"
        over = threading.Event()

        def watch() -> None:
            with httpx.stream("GET", url, headers=headers, timeout=20) as stream:
                assert stream.status_code == 200
                lines = stream.iter_lines()  # its end would be that of the stream
                next(lines)
                over.wait(30)

        watchers = [threading.Thread(target=watch) for _ in range(STREAMS)]
        for watcher in watchers:
            watcher.start()
        try:
            wait_for(lambda: streams._open[OWNER] == STREAMS, "all streams")
            time.sleep(0.5)
            before = looks
            time.sleep(3)
            assert STREAMS <= looks - before <= 3 * STREAMS
        finally:
            over.set()
            for watcher in watchers:
                watcher.join(20)
        wait_for(lambda: OWNER not in streams._open, "the end of all streams", seconds=20)
