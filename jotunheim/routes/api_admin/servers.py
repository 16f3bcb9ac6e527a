"""Servers: listing and creating them, changing and deleting one."""

from typing import Any

from jotunheim.data.answers import ServerAnswer, ServerChanged, ServerCreated, ServerJob, ServerList
from jotunheim.data.job import JobType
from jotunheim.data.server.change import ServerChange
from jotunheim.data.server.requests import DeleteRequest, ProtectionRequest
from jotunheim.data.server.spec import ServerSpec
from jotunheim.repositories.proxmox.configuration import Configuration
from jotunheim.routes.call import Call, CheckQuery, JobQuery, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import ServerListQuery
from jotunheim.services import jobs
from jotunheim.services.backups import sources
from jotunheim.services.servers import configure, create, delete, read
from jotunheim.services.servers.requests import Asked, find

operations = Operations("/admin", role="admin")


def queued(asked: Asked, answer: type[ServerJob] = ServerJob, **more: Any) -> Reply:
    """The answer to a request that became a job."""
    body = answer(server=read.read_server(asked.server.id), job=jobs.view(asked.job), **more)
    return Reply(body, location=f"/api/v1/admin/jobs/{asked.job.id}", wakes=(asked.job.id,))


@operations.get("/servers", scope="servers:read", answer=ServerList, query=ServerListQuery)
def list_servers(call: Call[None, ServerListQuery]) -> Reply:
    """List servers."""
    found = read.list_servers(call.query.wanted_page(), call.query.filters())
    return Reply(ServerList.model_validate({"servers": found.items, "meta": found.meta()}))


def _archived(call: Call[ServerSpec, JobQuery]) -> Configuration | None:
    if call.body.backup_id is None:
        return None
    return sources.look(call.body.backup_id, call.context.keyring, call.context.settings)


@operations.job("/servers", JobType.BUILD, body=ServerSpec, answer=ServerCreated, prepare=_archived)
def create_server(call: Call[ServerSpec, JobQuery]) -> Reply:
    """Create a server from a template or a backup: reserve what it needs and queue its build."""
    context = call.context
    created = create.create_server(
        call.body, call.actor, context.settings, context.keyring, call.manner, call.prepared
    )
    answer = ServerCreated(
        server=created.view, job=jobs.view(created.job), root_password=created.root_password
    )
    return Reply(answer, location=f"/api/v1/admin/jobs/{created.job.id}", wakes=(created.job.id,))


@operations.get("/servers/{id:uuid}", scope="servers:read", answer=ServerAnswer)
def read_server(call: Call[None, NoQuery]) -> Reply:
    """Show a server."""
    server = find(call.path["id"])
    return Reply(ServerAnswer(server=read.view(server)), etag=server.version)


def _change(call: Call[ServerChange, JobQuery]) -> Reply:
    server = find(call.path["id"], if_match=call.if_match)
    job = configure.configure(server, call.body, call.actor, call.manner)
    changed = find(server.id)
    body = ServerChanged(server=read.view(changed), job=jobs.view(job) if job else None)
    if job is None:
        return Reply(body, etag=changed.version, status=200)
    return Reply(body, location=f"/api/v1/admin/jobs/{job.id}", wakes=(job.id,), etag=changed.version)


@operations.job(
    "/servers/{id:uuid}",
    JobType.CONFIGURE,
    method="PATCH",
    body=ServerChange,
    answer=ServerChanged,
    other_status=200,
)
def change_server(call: Call[ServerChange, JobQuery]) -> Reply:
    """Change a server; 200 without a job when its VM need not change."""
    return _change(call)


@operations.job(
    "/servers/{id:uuid}/configure",
    JobType.CONFIGURE,
    body=ServerChange,
    answer=ServerChanged,
    other_status=200,
)
def configure_server(call: Call[ServerChange, JobQuery]) -> Reply:
    """Change a server; without any field, assert on the node what is recorded."""
    return _change(call)


@operations.job("/servers/{id:uuid}", JobType.DELETE, method="DELETE", body=DeleteRequest, answer=ServerJob)
def delete_server(call: Call[DeleteRequest, JobQuery]) -> Reply:
    """Delete a server, now or after a delay."""
    server = find(call.path["id"], if_match=call.if_match)
    return queued(delete.delete_server(server, call.body, call.actor, call.manner))


@operations.post(
    "/servers/{id:uuid}/protection",
    scope="servers:write",
    body=ProtectionRequest,
    query=CheckQuery,
    answer=ServerAnswer,
    status=200,
)
def protect_server(call: Call[ProtectionRequest, CheckQuery]) -> Reply:
    """Protect a server against deletion, or no longer."""
    server = find(call.path["id"])
    shown = delete.protect(server, protected=call.body.protected, check=call.query.check)
    return Reply(ServerAnswer(server=shown), etag=None if call.query.check else server.version)
