"""Jobs on the caller's own servers, and their events."""

from collections.abc import Callable

from sse_starlette import EventSourceResponse
from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.data.answers import ClientJobAnswer, ClientJobList, EventList
from jotunheim.data.job import CancelRequest, ClientJobView, client_event
from jotunheim.routes.call import Call, NoQuery, Reply, cancelled
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import ClientJobListQuery, ServerJobListQuery
from jotunheim.routes.streams import EventQuery, stream_events
from jotunheim.services import job_control, jobs
from jotunheim.services.servers.requests import find

operations = Operations("/client", role="client")


@operations.get("/jobs", scope="servers:read", answer=ClientJobList, query=ClientJobListQuery)
def list_jobs(call: Call[None, ClientJobListQuery]) -> Reply:
    """List the jobs on your servers, the newest first."""
    wanted = {**call.query.filters(), "owner_id": call.actor.user_id}
    found = jobs.list_jobs(call.query.wanted_page(), wanted)
    shown = [ClientJobView.of(job) for job in found.items]
    return Reply(ClientJobList.model_validate({"jobs": shown, "meta": found.meta()}))


@operations.get(
    "/servers/{id:uuid}/jobs", scope="servers:read", answer=ClientJobList, query=ServerJobListQuery
)
def list_server_jobs(call: Call[None, ServerJobListQuery]) -> Reply:
    """List the jobs on one of your servers, the newest first."""
    server = find(call.path["id"], call.actor.user_id)
    wanted = {**call.query.filters(), "server_id": server.id, "owner_id": call.actor.user_id}
    found = jobs.list_jobs(call.query.wanted_page(), wanted)
    shown = [ClientJobView.of(job) for job in found.items]
    return Reply(ClientJobList.model_validate({"jobs": shown, "meta": found.meta()}))


@operations.get("/jobs/{id:uuid}", scope="servers:read", answer=ClientJobAnswer)
def read_job(call: Call[None, NoQuery]) -> Reply:
    """Show a job on one of your servers."""
    job = jobs.read_job(call.path["id"], call.actor.user_id)
    return Reply(ClientJobAnswer(job=ClientJobView.of(job)))


@operations.post("/jobs/{id:uuid}/retry", scope="servers:write", answer=ClientJobAnswer, status=202)
def retry_job(call: Call[None, NoQuery]) -> Reply:
    """Try a failed job that you asked for again from where it stood."""
    job = job_control.retry_job(call.path["id"], call.actor)
    answer = ClientJobAnswer(job=ClientJobView.of(job))
    return Reply(answer, location=f"/api/v1/client/jobs/{job.id}", wakes=(job.id,))


@operations.post(
    "/jobs/{id:uuid}/cancel",
    scope="servers:write",
    body=CancelRequest,
    answer=ClientJobAnswer,
    status=202,
    other_status=200,
)
def cancel_job(call: Call[CancelRequest, NoQuery]) -> Reply:
    """Cancel a job that you asked for: 200 when nobody has begun it, else 202 and it is stopped."""
    job = job_control.cancel_job(call.path["id"], call.body.on_cancel, call.actor)
    return cancelled(job, ClientJobAnswer(job=ClientJobView.of(job)), f"/api/v1/client/jobs/{job.id}")


async def _stream(request: Request, actor: Actor, again: Callable[[], Actor]) -> EventSourceResponse:
    return await stream_events(request, actor, actor.user_id, client_event, again)


@operations.get(
    "/jobs/{id:uuid}/events", scope="servers:read", answer=EventList, query=EventQuery, stream=_stream
)
def list_events(call: Call[None, EventQuery]) -> Reply:
    """List the events of a job behind a cursor; with `Accept: text/event-stream`, a live stream of them."""
    events, more = jobs.read_events(call.path["id"], call.query.after, call.actor.user_id)
    next_after = events[-1].seq if events else call.query.after
    shown = [event for event in map(client_event, events) if event is not None]
    return Reply(EventList(events=shown, next_after=next_after, complete=not more))
