"""All backups, and what operators can ask about those of servers that are gone."""

from typing import Any

from jotunheim.data.backup.answers import (
    BackupAnswer,
    BackupJob,
    BackupList,
)
from jotunheim.data.job import JobType
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.routes.call import Call, JobQuery, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import BackupListQuery
from jotunheim.services import jobs
from jotunheim.services.backups import read, requests
from jotunheim.services.backups.requests import KeptBackup

operations = Operations("/admin", role="admin")


@operations.get("/backups", scope="servers:read", answer=BackupList, query=BackupListQuery)
def list_backups(call: Call[None, BackupListQuery]) -> Reply:
    """List all backups, those of servers that are gone too."""
    found = read.list_backups(call.query.wanted_page(), call.query.filters())
    return Reply(BackupList.model_validate({"backups": found.items, "meta": found.meta()}))


@operations.get("/backups/{backup_id:uuid}", scope="servers:read", answer=BackupAnswer)
def read_backup(call: Call[None, NoQuery]) -> Reply:
    """Show a backup, of a server that is gone too."""
    backup = read.find(call.path["backup_id"])
    return Reply(BackupAnswer(backup=read.view(backup)), etag=backup.version)


@operations.job("/backups/{backup_id:uuid}", JobType.BACKUP_DELETE, method="DELETE", answer=BackupJob)
def delete_kept_backup(call: Call[None, JobQuery]) -> Reply:
    """Remove the backup of a server that is gone from its storage."""
    return _queued(requests.delete_kept(_kept(call), call.actor, call.manner))


@operations.job("/backups/{backup_id:uuid}/lock", JobType.BACKUP_LOCK, answer=BackupJob)
def lock_kept_backup(call: Call[None, JobQuery]) -> Reply:
    """Let the backup of a server that is gone refuse to be deleted, on its storage too."""
    return _queued(requests.lock_kept(_kept(call), call.actor, call.manner, locked=True))


@operations.job("/backups/{backup_id:uuid}/lock", JobType.BACKUP_UNLOCK, method="DELETE", answer=BackupJob)
def unlock_kept_backup(call: Call[None, JobQuery]) -> Reply:
    """Let the backup of a server that is gone be deleted again."""
    return _queued(requests.lock_kept(_kept(call), call.actor, call.manner, locked=False))


def _kept(call: Call[Any, Any]) -> Backup:
    return read.find_kept(call.path["backup_id"], call.if_match)


def _queued(asked: KeptBackup) -> Reply:
    body = BackupJob(backup=read.view(asked.backup), job=jobs.view(asked.job))
    return Reply(body, location=f"/api/v1/admin/jobs/{asked.job.id}", wakes=(asked.job.id,))
