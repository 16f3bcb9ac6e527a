"""What operators can ask of one server, beside what owners can too: suspension."""

from typing import Any

from jotunheim.data.answers import IsoList, ServerJob, ServerJobPassword
from jotunheim.data.backup.answers import (
    BackupAnswer,
    BackupList,
    ScheduleAnswer,
    ScheduleList,
    ServerBackupJob,
)
from jotunheim.data.backup.requests import BackupSpec
from jotunheim.data.backup.schedule import ScheduleChange, ScheduleSpec
from jotunheim.data.backup.view import BackupView
from jotunheim.data.job import JobType
from jotunheim.data.server.requests import SuspendRequest
from jotunheim.repositories.peewee.servers import Server
from jotunheim.routes.api_admin.servers import queued
from jotunheim.routes.backup_schedules import ScheduleShapes, add_schedules
from jotunheim.routes.backups import BackupShapes, add_backups
from jotunheim.routes.call import Call, JobQuery, Reply
from jotunheim.routes.isos import add_isos
from jotunheim.routes.operations import Operations
from jotunheim.routes.requests import Module, add_requests
from jotunheim.routes.usage import add_usage
from jotunheim.services.servers import suspension
from jotunheim.services.servers.requests import Asked, find

operations = Operations("/admin", role="admin")


def _find(call: Call[Any, Any]) -> Server:
    return find(call.path["id"])


def _queued_with_password(asked: Asked) -> Reply:
    return queued(asked, ServerJobPassword, root_password=asked.root_password)


def _shown(backup: BackupView) -> BackupView:
    return backup


MODULE = Module(
    operations,
    _find,
    queued,
    _queued_with_password,
    ServerJob,
    ServerJobPassword,
    tells_of_nodes=True,
)
add_requests(MODULE)
add_isos(MODULE, IsoList)
add_backups(MODULE, BackupShapes(BackupSpec, _shown, BackupAnswer, BackupList, ServerBackupJob))
add_schedules(MODULE, ScheduleShapes(ScheduleSpec, ScheduleChange, ScheduleAnswer, ScheduleList))
add_usage(MODULE)


@operations.job("/servers/{id:uuid}/suspend", JobType.SUSPEND, body=SuspendRequest, answer=ServerJob)
def suspend_server(call: Call[SuspendRequest, JobQuery]) -> Reply:
    """Suspend a server: it is stopped, and cannot be started until it is unsuspended."""
    return queued(suspension.suspend(_find(call), call.body, call.actor, call.manner))


@operations.job("/servers/{id:uuid}/unsuspend", JobType.UNSUSPEND, answer=ServerJob)
def unsuspend_server(call: Call[None, JobQuery]) -> Reply:
    """Let a suspended server be what it was before."""
    return queued(suspension.unsuspend(_find(call), call.actor, call.manner))
