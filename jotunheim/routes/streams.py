"""A job's events as a live stream, for the API modules that offer it."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable

from pydantic import Field, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.data.job import EventView
from jotunheim.exceptions.model import from_pydantic
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ForbiddenError, UnauthorizedError
from jotunheim.routes.call import NoQuery
from jotunheim.services import jobs

STREAM_POLL_SECONDS = 0.3
STREAMS_AT_FULL_PACE = 20
"""Streams of one user that are looked after so often; more of them share that, so that nobody takes the API's time with them."""
_open: Counter[int] = Counter()
"""Streams of this process by user."""
Show = Callable[[EventView], EventView | None]
"""What the reader may see of an event; None: nothing."""


class EventQuery(NoQuery):
    """The query of a job's events."""

    after: int = Field(default=0, ge=0, le=2**62)
    """Only events with a greater `seq`."""


async def stream_events(
    request: Request, actor: Actor, owner_id: int | None, show: Show, authorize_again: Callable[[], Actor]
) -> EventSourceResponse:
    """A job's events as server-sent events until the job is over, or the reader may not read it any more; `Last-Event-ID` resumes.

    Args:
        owner_id: only a job on a server of this user.
        authorize_again: raises when the reader's token or session has ended.
    """
    job_id: uuid.UUID = request.path_params["id"]
    cursor = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    try:
        after = EventQuery.model_validate({"after": cursor}).after
    except ValidationError as error:
        raise from_pydantic(error) from None
    # A missing job is a 404, not an empty stream.
    await run_in_threadpool(jobs.read_job, job_id, owner_id)

    def read(after: int) -> tuple[list[EventView], bool]:
        try:
            authorize_again()
            return jobs.read_events(job_id, after, owner_id)
        except (UnauthorizedError, ForbiddenError, NotFoundError):
            return [], False  # whoever comes back for the rest is told

    return EventSourceResponse(_events(read, after, show, actor.user_id), ping=15)


async def _events(
    read: Callable[[int], tuple[list[EventView], bool]], after: int, show: Show, reader_id: int
) -> AsyncIterator[ServerSentEvent]:
    more = True
    _open[reader_id] += 1
    try:
        while more:
            events, more = await run_in_threadpool(read, after)
            for event in events:
                after = event.seq
                shown = show(event)
                if shown is not None:
                    yield ServerSentEvent(id=str(event.seq), event=event.type, data=shown.model_dump_json())
            if more and not events:
                await asyncio.sleep(STREAM_POLL_SECONDS * max(1, _open[reader_id] / STREAMS_AT_FULL_PACE))
    finally:
        _open[reader_id] -= 1
        if not _open[reader_id]:
            del _open[reader_id]
