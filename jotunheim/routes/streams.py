"""A job's events as a live stream, for the API modules that offer it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

from pydantic import Field, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jotunheim.data.job import EventView
from jotunheim.exceptions.model import from_pydantic
from jotunheim.routes.call import NoQuery
from jotunheim.services import jobs

STREAM_POLL_SECONDS = 0.3
Show = Callable[[EventView], EventView | None]
"""What the reader may see of an event; None: nothing."""


class EventQuery(NoQuery):
    """The query of a job's events."""

    after: int = Field(default=0, ge=0, le=2**62)
    """Only events with a greater `seq`."""


async def stream_events(request: Request, owner_id: int | None, show: Show) -> EventSourceResponse:
    """A job's events as server-sent events until the job is over; `Last-Event-ID` resumes.

    Args:
        owner_id: only a job on a server of this user.
    """
    job_id: uuid.UUID = request.path_params["id"]
    cursor = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    try:
        after = EventQuery.model_validate({"after": cursor}).after
    except ValidationError as error:
        raise from_pydantic(error) from None
    # A missing job is a 404, not an empty stream.
    await run_in_threadpool(jobs.read_job, job_id, owner_id)
    return EventSourceResponse(_events(job_id, after, owner_id, show), ping=15)


async def _events(
    job_id: uuid.UUID, after: int, owner_id: int | None, show: Show
) -> AsyncIterator[ServerSentEvent]:
    more = True
    while more:
        events, more = await run_in_threadpool(jobs.read_events, job_id, after, owner_id)
        for event in events:
            after = event.seq
            shown = show(event)
            if shown is not None:
                yield ServerSentEvent(id=str(event.seq), event=event.type, data=shown.model_dump_json())
        if more and not events:
            await asyncio.sleep(STREAM_POLL_SECONDS)
