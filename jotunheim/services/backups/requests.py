"""What can be asked about backups: making, restoring, locking and deleting one. Each becomes a job.

Backups of a server that is gone belong to no server: they can only be unlocked and deleted, by operators.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from limits import parse

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.data.backup.requests import BackupSpec, ClientBackupSpec, RestoreRequest
from jotunheim.data.backup.status import BackupStatus
from jotunheim.data.job import JobType
from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import (
    ConflictError,
    LockedError,
    ProtectedError,
    RateLimitExceededError,
    ResourceLimitExceededError,
)
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeStorage
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.backups import sources
from jotunheim.services.nodes.requests import enqueue_planned
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import (
    READY,
    Asked,
    assert_free,
    assert_not_suspended,
    enqueue,
)
from jotunheim.settings import Settings

RESTORABLE = READY | {ServerStatus.RESTORE_FAILED}


@dataclass(frozen=True)
class AskedOfBackup(Asked):
    """A server, the job that was queued for it, and the backup that it is about; None: a preview of a new one."""

    backup: Backup | None = None


@dataclass(frozen=True)
class KeptBackup:
    """The backup of a server that is gone, and the job that was queued for it."""

    backup: Backup
    job: Job


def create_backup(
    server: Server, spec: ClientBackupSpec, actor: Actor, settings: Settings, manner: Manner
) -> AskedOfBackup:
    """Record a backup that is being made, and queue its making.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
        ResourceLimitExceededError: it has as many backups as it may have.
        RateLimitExceededError: its owner makes too many.
        DataValidationError: the node has no such storage for backups.
    """
    assert_free(server)
    assert_within_limit(server)
    if actor.role != ADMIN:
        _assert_within_rate(server, settings)
    chosen = spec.storage if isinstance(spec, BackupSpec) else None
    assert_storage(server.node, chosen)
    storage = chosen or server.node.backup_storage
    planned = manner.planned or {}
    made = {
        "backup_id": planned.get("backup_id", str(uuid.uuid4())),
        "storage": storage,
        "mode": spec.mode,
        "compress": spec.compress,
        "notes": spec.notes,
    }
    job = enqueue(server, JobType.BACKUP_CREATE, actor, made, manner)
    if manner.check:
        return AskedOfBackup(server, job)
    backup = Backup.to_be_made(server, made)
    backup.record()
    return AskedOfBackup(server, job, backup=backup)


def restore_backup(
    server: Server, backup: Backup, wanted: RestoreRequest, actor: Actor, manner: Manner
) -> AskedOfBackup:
    """Queue the return of a server to one of its backups; what was written since is lost.

    A server that ran is started again. One whose last restore came to nothing becomes what that was to make of it.

    Raises:
        LockedError: a job has the server.
        ConflictError: the server or the backup is not ready, or the server is suspended, or runs and is not to be stopped.
    """
    assert_free(server, RESTORABLE)
    assert_not_suspended(server)
    _assert_ready(backup)
    if server.power == Power.RUNNING and not wanted.stop and manner.planned is None:
        raise ConflictError(f"Server {server.name} runs.", hint="Stop it first, or ask for it with stop.")
    parameters = {
        "backup_id": str(backup.id),
        "stop": wanted.stop,
        "destroy_snapshots": wanted.destroy_snapshots,
        "start": _runs_afterwards(server),
        "status_before": str(server.status),
    }
    if manner.planned is not None:
        parameters["start"] = manner.planned["start"]  # our record of the power may have been corrected since
    job = enqueue(server, JobType.BACKUP_RESTORE, actor, parameters, manner)
    return AskedOfBackup(server, job, backup=backup)


def assert_storage(node: Node, name: str | None) -> None:
    """Raise DataValidationError when a node has told what it has, and has no such storage for backups."""
    told = NodeStorage.of(node)
    fitting = [storage.name for storage in told if "backup" in storage.content]
    if name is not None and told and name not in fitting:
        has = f"it has: {', '.join(fitting)}" if fitting else "it has none"
        raise DataValidationError(
            [FieldProblem("storage", f"node {node.name} has no storage {name} for backups; {has}")]
        )


def _runs_afterwards(server: Server) -> bool:
    last = job_history.last_of(server, JobType.BACKUP_RESTORE)
    if server.status == ServerStatus.RESTORE_FAILED and last is not None:
        return bool(last.parameters["start"])
    return server.power == Power.RUNNING


def lock_backup(
    server: Server, backup: Backup, actor: Actor, manner: Manner, *, locked: bool
) -> AskedOfBackup:
    """Queue that a backup refuses to be deleted, or no longer.

    Raises:
        LockedError: a job has the server.
        ConflictError: the server or the backup is not ready.
    """
    assert_free(server, RESTORABLE)
    _assert_ready(backup)
    job = enqueue(server, _locking(locked=locked), actor, {"backup_id": str(backup.id)}, manner)
    return AskedOfBackup(server, job, backup=backup)


def delete_backup(server: Server, backup: Backup, actor: Actor, manner: Manner) -> AskedOfBackup:
    """Queue the removal of a backup from its storage.

    Raises:
        LockedError: a job has the server.
        ProtectedError: the backup is locked.
        ConflictError: the server is not ready, or another one is being made from the backup.
    """
    assert_free(server, RESTORABLE)
    _assert_removable(backup)
    job = enqueue(server, JobType.BACKUP_DELETE, actor, {"backup_id": str(backup.id)}, manner)
    return AskedOfBackup(server, job, backup=backup)


def lock_kept(backup: Backup, actor: Actor, manner: Manner, *, locked: bool) -> KeptBackup:
    """The same as `lock_backup`, of a server that is gone.

    Raises:
        LockedError: a job has the backup.
        ConflictError: it is not ready.
    """
    _assert_ready(backup)
    return _enqueue(backup, _locking(locked=locked), actor, manner)


def delete_kept(backup: Backup, actor: Actor, manner: Manner) -> KeptBackup:
    """The same as `delete_backup`, of a server that is gone.

    Raises:
        LockedError: a job has the backup.
        ProtectedError: it is locked.
        ConflictError: a server is being made from it.
    """
    _assert_removable(backup)
    return _enqueue(backup, JobType.BACKUP_DELETE, actor, manner)


def _locking(*, locked: bool) -> JobType:
    return JobType.BACKUP_LOCK if locked else JobType.BACKUP_UNLOCK


def _enqueue(backup: Backup, type_: JobType, actor: Actor, manner: Manner) -> KeptBackup:
    """Queue a job about a backup and no server; what a server does for its jobs, this does here: one at a time."""
    other = Backup.live_jobs([backup]).get(backup.id)
    if other is not None:
        raise LockedError(other, Job.get_by_id(other).type, what="backup")
    parameters, watched = (
        {"backup_id": str(backup.id)},
        {"vmid": backup.vmid, "backup_storage": backup.storage},
    )
    return KeptBackup(
        backup, enqueue_planned(backup.node, type_, actor, manner, parameters, "backup", **watched)
    )


def _assert_removable(backup: Backup) -> None:
    if backup.locked:
        raise ProtectedError("This backup is locked.", hint="Unlock it first.")
    sources.assert_unread(backup)


def _assert_ready(backup: Backup) -> None:
    if backup.status != BackupStatus.READY:
        raise ConflictError(f"The backup is {backup.status}; this needs one that is ready.")


def within_limit(server: Server, *, leaving: int = 0) -> bool:
    """Whether a server may have one more backup.

    Args:
        leaving: how many go as soon as it is there.
    """
    limit = server.limits.get("backups")
    return limit is None or Backup.count_of(server) - leaving < limit


def assert_within_limit(server: Server) -> None:
    """Raise ResourceLimitExceededError when a server has as many backups as it may have."""
    if not within_limit(server):
        raise ResourceLimitExceededError(
            f"The server has {Backup.count_of(server)} backups and may have {server.limits['backups']}.",
            hint="Delete one, or raise limits.backups.",
        )


def _assert_within_rate(server: Server, settings: Settings) -> None:
    if not settings.backup_rate_limit:
        return
    allowed = parse(settings.backup_rate_limit)
    at, window = now(), timedelta(seconds=allowed.get_expiry())
    asked = Backup.asked_since(server, at - window)
    if len(asked) >= allowed.amount:
        free_at = asked[-allowed.amount] + window
        raise RateLimitExceededError(max(1, round((free_at - at).total_seconds())))
