"""The caller's own servers. Somebody else's does not exist here."""

from typing import Any

from jotunheim.data.answers import (
    ClientIsoList,
    ClientServerAnswer,
    ClientServerJob,
    ClientServerJobPassword,
    ClientServerList,
    ClientTemplateList,
    SshKeysAnswer,
)
from jotunheim.data.backup.answers import (
    ClientBackupAnswer,
    ClientBackupList,
    ClientScheduleAnswer,
    ClientScheduleList,
    ClientServerBackupJob,
)
from jotunheim.data.backup.requests import ClientBackupSpec
from jotunheim.data.backup.schedule import ClientScheduleChange, ClientScheduleSpec
from jotunheim.data.backup.view import ClientBackupView
from jotunheim.data.job import ClientJobView, JobType
from jotunheim.data.server.change import ServerChange
from jotunheim.data.server.requests import KeysRequest
from jotunheim.data.server.view import ClientServerView
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.servers import Server
from jotunheim.routes.backup_schedules import ScheduleShapes, add_schedules
from jotunheim.routes.backups import BackupShapes, add_backups
from jotunheim.routes.call import Call, JobQuery, NoQuery, Reply
from jotunheim.routes.isos import add_isos
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import ClientServerListQuery, ClientTemplateListQuery
from jotunheim.routes.requests import Module, add_requests
from jotunheim.routes.usage import add_usage
from jotunheim.services import jobs
from jotunheim.services.servers import configure, read, rebuild
from jotunheim.services.servers.requests import Asked, assert_version, find

operations = Operations("/client", role="client")


def _own(call: Call[Any, Any]) -> Server:
    """The server in the path, when it is the caller's."""
    return find(call.path["id"], call.actor.user_id)


def _queued(asked: Asked, answer: type[ClientServerJob] = ClientServerJob, **more: Any) -> Reply:
    """The answer to a request that became a job."""
    body = answer(
        server=ClientServerView.of(read.read_server(asked.server.id)),
        job=ClientJobView.of(jobs.view(asked.job)),
        **more,
    )
    return Reply(body, location=f"/api/v1/client/jobs/{asked.job.id}", wakes=(asked.job.id,))


def _queued_with_password(asked: Asked) -> Reply:
    return _queued(asked, ClientServerJobPassword, root_password=asked.root_password)


MODULE = Module(operations, _own, _queued, _queued_with_password, ClientServerJob, ClientServerJobPassword)
add_requests(MODULE)
add_isos(MODULE, ClientIsoList)
add_backups(
    MODULE,
    BackupShapes(
        ClientBackupSpec, ClientBackupView.of, ClientBackupAnswer, ClientBackupList, ClientServerBackupJob
    ),
)
add_schedules(
    MODULE,
    ScheduleShapes(ClientScheduleSpec, ClientScheduleChange, ClientScheduleAnswer, ClientScheduleList),
)
add_usage(MODULE)


@operations.get("/servers", scope="servers:read", answer=ClientServerList, query=ClientServerListQuery)
def list_servers(call: Call[None, ClientServerListQuery]) -> Reply:
    """List your servers."""
    wanted = {**call.query.filters(), "owner_id": call.actor.user_id}
    found = read.list_servers(call.query.wanted_page(), wanted, operator=False)
    shown = [ClientServerView.of(server) for server in found.items]
    return Reply(ClientServerList.model_validate({"servers": shown, "meta": found.meta()}))


@operations.get("/servers/{id:uuid}", scope="servers:read", answer=ClientServerAnswer)
def read_server(call: Call[None, NoQuery]) -> Reply:
    """Show one of your servers."""
    server = _own(call)
    return Reply(ClientServerAnswer(server=ClientServerView.of(read.view(server))), etag=server.version)


@operations.get(
    "/servers/{id:uuid}/templates",
    scope="servers:read",
    answer=ClientTemplateList,
    query=ClientTemplateListQuery,
)
def list_templates(call: Call[None, ClientTemplateListQuery]) -> Reply:
    """List the templates that one of your servers can be rebuilt from."""
    found = rebuild.list_templates(_own(call), call.query.wanted_page(), call.query.filters())
    return Reply(ClientTemplateList.model_validate({"templates": found.items, "meta": found.meta()}))


@operations.get("/servers/{id:uuid}/ssh-keys", scope="servers:read", answer=SshKeysAnswer)
def list_ssh_keys(call: Call[None, NoQuery]) -> Reply:
    """List the public keys that the account of one of your servers accepts."""
    return Reply(SshKeysAnswer(ssh_keys=_own(call).ssh_keys))


@operations.job(
    "/servers/{id:uuid}/ssh-keys", JobType.CONFIGURE, method="PUT", body=KeysRequest, answer=ClientServerJob
)
def set_ssh_keys(call: Call[KeysRequest, JobQuery]) -> Reply:
    """Set the public keys of one of your servers; cloud-init gives them to the guest at its next start."""
    server = _own(call)
    assert_version(server, call.if_match)
    given = call.body.model_dump(exclude_none=True)
    if not given:
        raise DataValidationError([FieldProblem("ssh_keys", "must be given, or ssh_key_ids")])
    change = ServerChange.model_validate(given)
    job = configure.configure(server, change, call.actor, call.manner)
    assert job is not None
    return _queued(Asked(server, job))
