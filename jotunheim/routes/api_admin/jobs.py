"""Jobs and their events, as JSON or as a live stream."""

from collections.abc import Callable

from sse_starlette import EventSourceResponse
from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.data.answers import EventList, JobAnswer, JobList
from jotunheim.data.job import CancelRequest
from jotunheim.routes.call import Call, File, NoQuery, Reply, cancelled
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import JobListQuery
from jotunheim.routes.streams import EventQuery, stream_events
from jotunheim.services import job_control, jobs

operations = Operations("/admin", role="admin")


@operations.get("/jobs", scope="servers:read", answer=JobList, query=JobListQuery)
def list_jobs(call: Call[None, JobListQuery]) -> Reply:
    """List jobs, the newest first."""
    found = jobs.list_jobs(call.query.wanted_page(), call.query.filters())
    return Reply(JobList.model_validate({"jobs": found.items, "meta": found.meta()}))


@operations.get("/jobs/{id:uuid}", scope="servers:read", answer=JobAnswer)
def read_job(call: Call[None, NoQuery]) -> Reply:
    """Show a job with its steps, its Proxmox tasks and its error."""
    return Reply(JobAnswer(job=jobs.read_job(call.path["id"])))


@operations.get("/jobs/{id:uuid}/bundle", scope="servers:read", answer="application/gzip")
def bundle_job(call: Call[None, NoQuery]) -> Reply:
    """Get a job's last run as an archive that works by hand: playbook, roles, inventory, command line; no secrets."""
    name, content = jobs.bundle_job(call.path["id"])
    return Reply(File(name, content))


@operations.post("/jobs/{id:uuid}/retry", scope="servers:write", answer=JobAnswer, status=202)
def retry_job(call: Call[None, NoQuery]) -> Reply:
    """Try a failed job again from where it stood."""
    job = job_control.retry_job(call.path["id"])
    return Reply(JobAnswer(job=job), location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,))


@operations.post(
    "/jobs/{id:uuid}/cancel",
    scope="servers:write",
    body=CancelRequest,
    answer=JobAnswer,
    status=202,
    other_status=200,
)
def cancel_job(call: Call[CancelRequest, NoQuery]) -> Reply:
    """Cancel a job: 200 when nobody has begun it, else 202 and the worker that has it takes back what it made."""
    job = job_control.cancel_job(call.path["id"], call.body.on_cancel)
    return cancelled(job, JobAnswer(job=job), f"/api/v1/admin/jobs/{job.id}")


async def _stream(request: Request, actor: Actor, again: Callable[[], Actor]) -> EventSourceResponse:
    return await stream_events(request, actor, None, lambda event: event, again)


@operations.get(
    "/jobs/{id:uuid}/events", scope="servers:read", answer=EventList, query=EventQuery, stream=_stream
)
def list_events(call: Call[None, EventQuery]) -> Reply:
    """List a job's events behind a cursor; with `Accept: text/event-stream`, a live stream of them."""
    events, more = jobs.read_events(call.path["id"], call.query.after)
    next_after = events[-1].seq if events else call.query.after
    return Reply(EventList(events=events, next_after=next_after, complete=not more))
