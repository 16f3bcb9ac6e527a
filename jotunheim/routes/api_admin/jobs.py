"""Jobs and their events, as JSON or as a live stream."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from pydantic import Field, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jotunheim.data.answers import EventList, JobAnswer, JobList
from jotunheim.data.job import JobStatus
from jotunheim.exceptions.http import from_pydantic
from jotunheim.routes.operation import Call, Context, ListQuery, NoQuery, Operations, Reply
from jotunheim.services import jobs

STREAM_POLL_SECONDS = 0.3

operations = Operations("/admin", role="admin")


class JobListQuery(ListQuery):
    """The query of the list of jobs."""

    status: JobStatus | None = None
    server_id: uuid.UUID | None = None


class EventQuery(NoQuery):
    """The query of a job's events."""

    after: int = Field(default=0, ge=0, le=2**62)
    """Only events with a greater `seq`."""


@operations.get("/jobs", scope="servers:read", answer=JobList, query=JobListQuery)
def list_jobs(call: Call[None, JobListQuery]) -> Reply:
    """List jobs, the newest first."""
    found = jobs.list_jobs(call.query.wanted_page(), call.query.status, call.query.server_id)
    return Reply(JobList.model_validate({"jobs": found.items, "meta": found.meta()}))


@operations.get("/jobs/{id:uuid}", scope="servers:read", answer=JobAnswer)
def read_job(call: Call[None, NoQuery]) -> Reply:
    """Show a job with its steps, its Proxmox tasks and its error."""
    return Reply(JobAnswer(job=jobs.read_job(call.path["id"])))


@operations.post("/jobs/{id:uuid}/retry", scope="servers:write", answer=JobAnswer, status=202)
def retry_job(call: Call[None, NoQuery]) -> Reply:
    """Try a failed job again from where it stood."""
    job = jobs.retry_job(call.path["id"])
    return Reply(JobAnswer(job=job), location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,))


async def stream_events(request: Request, context: Context) -> EventSourceResponse:
    """A job's events as server-sent events until the job is over; `Last-Event-ID` resumes."""
    del context
    job_id: uuid.UUID = request.path_params["id"]
    cursor = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    try:
        after = EventQuery.model_validate({"after": cursor}).after
    except ValidationError as error:
        raise from_pydantic(error) from None
    await run_in_threadpool(jobs.read_job, job_id)  # a missing job is a 404, not an empty stream
    return EventSourceResponse(_events(job_id, after), ping=15)


async def _events(job_id: uuid.UUID, after: int) -> AsyncIterator[ServerSentEvent]:
    more = True
    while more:
        events, more = await run_in_threadpool(jobs.read_events, job_id, after)
        for event in events:
            after = event.seq
            yield ServerSentEvent(id=str(event.seq), event=event.type, data=event.model_dump_json())
        if more and not events:
            await asyncio.sleep(STREAM_POLL_SECONDS)


@operations.get(
    "/jobs/{id:uuid}/events", scope="servers:read", answer=EventList, query=EventQuery, stream=stream_events
)
def list_events(call: Call[None, EventQuery]) -> Reply:
    """List a job's events behind a cursor; with `Accept: text/event-stream`, a live stream of them."""
    events, more = jobs.read_events(call.path["id"], call.query.after)
    next_after = events[-1].seq if events else call.query.after
    return Reply(EventList(events=events, next_after=next_after, complete=not more))
