"""Follows jobs until they are over: by their event streams, and by polling where streams do not get through."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from jotunheim.cli.client import Api, UnreachableError
from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.output import Document

POLL_SECONDS = 0.5
# A service that restarts is away for some seconds; its jobs go on meanwhile.
TOLERATED_SILENCE_SECONDS = 30.0

Report = Document | CommandError | None
"""An event, the reason why a job can be followed no longer, or None: the job is over."""


class Listener(Protocol):
    """Shows what happens."""

    def on_event(self, job_id: str, event: Document) -> None:
        """Something happened in a job."""


def wait_for(
    api: Api, job_ids: list[str], timeout_seconds: float | None, listener: Listener
) -> dict[str, Document]:
    """Follow jobs until all are over.

    Args:
        timeout_seconds: None: without limit.

    Returns:
        The jobs as they ended, by id.

    Raises:
        CommandError: `timeout`, or the service is not to be reached any more. The jobs go on.
    """
    reports: queue.SimpleQueue[tuple[str, Report]] = queue.SimpleQueue()
    stopped = threading.Event()
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    for job_id in job_ids:
        # Daemons with own connections: a stream that is being read cannot be interrupted. When we stop
        # waiting it is left to itself, and must neither keep the process nor lose its client.
        follower = threading.Thread(
            target=_follow, args=(api.again(), job_id, reports.put, stopped), daemon=True
        )
        follower.start()
    waiting = set(job_ids)
    try:
        while waiting:
            job_id, report = reports.get(timeout=_left(deadline))
            match report:
                case None:
                    waiting.remove(job_id)
                case CommandError():
                    raise report
                case _:
                    listener.on_event(job_id, report)
    except queue.Empty:
        raise _timed_out(timeout_seconds, sorted(waiting)) from None
    finally:
        stopped.set()
    return {job_id: api.get(f"/jobs/{job_id}")["job"] for job_id in job_ids}


def failure_of(job: Document) -> CommandError | None:
    """The error of a job that is over; None when it succeeded."""
    if job["status"] == "succeeded":
        return None
    error: Mapping[str, str | None] = job["error"] or {}
    return CommandError(
        error.get("message") or f"The job was {job['status']}.",
        code=error.get("code") or job["status"],
        hint=error.get("hint"),
        request_id=job["request_id"],
    )


def _follow(
    api: Api, job_id: str, report: Callable[[tuple[str, Report]], None], stopped: threading.Event
) -> None:
    try:
        with api:
            for event in _events(api, job_id, stopped):
                report((job_id, event))
    except CommandError as error:
        report((job_id, error))
    else:
        report((job_id, None))


def _events(api: Api, job_id: str, stopped: threading.Event) -> Iterator[Document]:
    """All events of a job until it is over or nobody wants them, however often the connection is cut."""
    after = 0
    heard = time.monotonic()
    streaming = True
    while not stopped.is_set():
        try:
            if streaming:
                for event in api.events(job_id, after):
                    heard = time.monotonic()
                    after = event["seq"]
                    yield event
        except UnreachableError:
            # The next question decides whether the service is away, or only streams do not pass.
            streaming = time.monotonic() - heard < TOLERATED_SILENCE_SECONDS
        try:
            page = api.get(f"/jobs/{job_id}/events", after=after)
        except UnreachableError:
            if time.monotonic() - heard > TOLERATED_SILENCE_SECONDS:
                raise
        else:
            heard = time.monotonic()
            after = page["next_after"]
            yield from page["events"]
            if page["complete"]:
                return
        stopped.wait(POLL_SECONDS)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _timed_out(timeout_seconds: float | None, job_ids: list[str]) -> CommandError:
    return CommandError(
        f"Not over after {timeout_seconds:g} s; the job goes on.",
        code="timeout",
        exit_code=ExitCode.TIMEOUT,
        hint="; ".join(f"jotunheim job watch {job_id}" for job_id in job_ids),
    )
