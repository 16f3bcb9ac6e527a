"""What operators and owners alike can ask about a server's backups: which there are, making, restoring, locking and deleting one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jotunheim.data.backup.requests import ClientBackupSpec, RestoreRequest
from jotunheim.data.backup.view import BackupView
from jotunheim.data.job import JobType
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.servers import Server
from jotunheim.routes.call import Call, JobQuery, NoQuery, Reply
from jotunheim.routes.queries import ServerBackupListQuery
from jotunheim.routes.requests import Module
from jotunheim.services.backups import read, requests
from jotunheim.services.backups.requests import AskedOfBackup

PATH = "/servers/{id:uuid}/backups"
ONE = PATH + "/{backup_id:uuid}"


@dataclass(frozen=True)
class BackupShapes:
    """What one of the API's modules shows of backups.

    Attributes:
        spec: what can be said of a new one.
        shown: one as this module shows it.
        answer, answer_list, answer_job: the shapes of answers.
    """

    spec: type[ClientBackupSpec]
    shown: Callable[[BackupView], BaseModel]
    answer: type[BaseModel]
    answer_list: type[BaseModel]
    answer_job: type[BaseModel]


def add_backups(module: Module, shapes: BackupShapes) -> None:
    """Register the requests with a module's operations."""
    _add_reading(module, shapes)
    _add_jobs(module, shapes)


def _add_reading(module: Module, shapes: BackupShapes) -> None:
    @module.operations.get(PATH, scope="servers:read", answer=shapes.answer_list, query=ServerBackupListQuery)
    def list_backups(call: Call[None, ServerBackupListQuery]) -> Reply:
        """List a server's backups."""
        found = read.list_backups(call.query.wanted_page(), call.query.filters(), module.find(call))
        shown = [shapes.shown(backup) for backup in found.items]
        return Reply(shapes.answer_list.model_validate({"backups": shown, "meta": found.meta()}))

    @module.operations.get(ONE, scope="servers:read", answer=shapes.answer)
    def read_backup(call: Call[None, NoQuery]) -> Reply:
        """Show one backup of a server."""
        backup = read.find(call.path["backup_id"], module.find(call))
        return Reply(
            shapes.answer.model_validate({"backup": shapes.shown(read.view(backup))}), etag=backup.version
        )


def _add_jobs(module: Module, shapes: BackupShapes) -> None:
    def found(call: Call[Any, Any]) -> tuple[Server, Backup]:
        server = module.find(call)
        return server, read.find(call.path["backup_id"], server, call.if_match)

    def queued(asked: AskedOfBackup) -> Reply:
        shown = shapes.shown(read.view(asked.backup)) if asked.backup else None
        return module.queued(asked, shapes.answer_job, backup=shown)

    @module.operations.job(PATH, JobType.BACKUP_CREATE, body=shapes.spec, answer=shapes.answer_job)
    def create_backup(call: Call[ClientBackupSpec, JobQuery]) -> Reply:
        """Make a backup of a server."""
        return queued(
            requests.create_backup(
                module.find(call), call.body, call.actor, call.context.settings, call.manner
            )
        )

    @module.operations.job(
        ONE + "/restore", JobType.BACKUP_RESTORE, body=RestoreRequest, answer=shapes.answer_job
    )
    def restore_backup(call: Call[RestoreRequest, JobQuery]) -> Reply:
        """Put a server back to a backup; what was written since is lost."""
        server, backup = found(call)
        return queued(requests.restore_backup(server, backup, call.body, call.actor, call.manner))

    @module.operations.job(ONE + "/lock", JobType.BACKUP_LOCK, answer=shapes.answer_job)
    def lock_backup(call: Call[None, JobQuery]) -> Reply:
        """Let a backup refuse to be deleted, on its storage too."""
        server, backup = found(call)
        return queued(requests.lock_backup(server, backup, call.actor, call.manner, locked=True))

    @module.operations.job(ONE + "/lock", JobType.BACKUP_UNLOCK, method="DELETE", answer=shapes.answer_job)
    def unlock_backup(call: Call[None, JobQuery]) -> Reply:
        """Let a backup be deleted again."""
        server, backup = found(call)
        return queued(requests.lock_backup(server, backup, call.actor, call.manner, locked=False))

    @module.operations.job(ONE, JobType.BACKUP_DELETE, method="DELETE", answer=shapes.answer_job)
    def delete_backup(call: Call[None, JobQuery]) -> Reply:
        """Remove a backup of a server from its storage."""
        server, backup = found(call)
        return queued(requests.delete_backup(server, backup, call.actor, call.manner))
