"""What differs between servers and their VMs. Owners have no such routes: the details name what is the operator's."""

from jotunheim.data.answers import JobAnswer, ServerJob
from jotunheim.data.job import JobType
from jotunheim.data.server.drift import (
    AcceptRequest,
    DriftAccepted,
    DriftAnswer,
    DriftList,
    ReconcileRequest,
)
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.routes.api_admin.servers import queued
from jotunheim.routes.call import Call, JobQuery, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import DriftListQuery
from jotunheim.services import jobs
from jotunheim.services.nodes import nodes
from jotunheim.services.servers import drift, drift_changes, read
from jotunheim.services.servers.requests import find

operations = Operations("/admin", role="admin")


@operations.get("/drift", scope="servers:read", answer=DriftList, query=DriftListQuery)
def list_drift(call: Call[None, DriftListQuery]) -> Reply:
    """List what differs between servers and their VMs, of all that were ever looked at."""
    found = drift_changes.list_drift(call.query.wanted_page(), call.query.filters())
    return Reply(DriftList.model_validate({"drift": found.items, "meta": found.meta()}))


@operations.get("/servers/{id:uuid}/drift", scope="servers:read", answer=DriftAnswer)
def read_drift(call: Call[None, NoQuery]) -> Reply:
    """Show what differs between a server and its VM."""
    row = drift_changes.find(find(call.path["id"]))
    return Reply(DriftAnswer(drift=drift_changes.view(row)), etag=row.version)


@operations.post("/servers/{id:uuid}/drift/check", scope="servers:write", answer=JobAnswer, status=202)
def check_drift(call: Call[None, NoQuery]) -> Reply:
    """Look at a server's VM now. The job is its node's, so that the server is not locked."""
    server = find(call.path["id"])
    return _looking(drift.look(server.node, call.actor, server))


@operations.post("/nodes/{id:row}/drift", scope="servers:write", answer=JobAnswer, status=202)
def check_node(call: Call[None, NoQuery]) -> Reply:
    """Look at the VMs of all servers of a node now."""
    return _looking(drift.look(nodes.find(call.path["id"]), call.actor))


@operations.job(
    "/servers/{id:uuid}/drift/reconcile", JobType.CONFIGURE, body=ReconcileRequest, answer=ServerJob
)
def reconcile_drift(call: Call[ReconcileRequest, JobQuery]) -> Reply:
    """Bring a server's VM to all that is recorded."""
    return queued(drift_changes.reconcile(find(call.path["id"]), call.body, call.actor, call.manner))


def _digest(call: Call[AcceptRequest, NoQuery]) -> str:
    return drift_changes.digest_now(find(call.path["id"]), call.context.keyring, call.context.settings)


@operations.post(
    "/servers/{id:uuid}/drift/accept",
    scope="servers:write",
    body=AcceptRequest,
    answer=DriftAccepted,
    status=200,
    prepare=_digest,
)
def accept_drift(call: Call[AcceptRequest, NoQuery]) -> Reply:
    """Let the record of a server take over what was found. Nothing is changed on the node."""
    server = find(call.path["id"])
    row = drift_changes.accept(server, call.body, call.prepared)
    return Reply(DriftAccepted(server=read.view(server), drift=drift_changes.view(row)))


def _looking(job: Job) -> Reply:
    return Reply(JobAnswer(job=jobs.view(job)), location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,))
