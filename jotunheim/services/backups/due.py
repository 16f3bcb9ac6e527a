"""What is due by schedules: backups to be made, and backups that need not be kept any more. Workers look every few seconds.

A server is locked by the job that backs it up, also while that waits. So no more backups are asked for on a node than it makes at once: a
schedule that is due waits for its turn, the longest due first. However long that takes, and however long no worker ran, what was missed
is caught up once.
"""

import uuid
from datetime import timedelta

from jotunheim.data.actor import Actor
from jotunheim.data.backup.schedule import Keep
from jotunheim.data.job import JobType
from jotunheim.data.server.status import ServerStatus
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.peewee.announcements import announce
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule, being_made_on
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import locking, now, transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.audit import records
from jotunheim.services.backups import retention
from jotunheim.services.backups.requests import within_limit
from jotunheim.services.backups.schedules import next_run
from jotunheim.services.servers.requests import READY, enqueue
from jotunheim.settings import Settings

SCHEDULE = "schedule"
"""Who asks."""
PRUNE_RETRY = timedelta(minutes=10)
"""How long a backup that could not be removed is left alone."""


def back_up_what_is_due(settings: Settings) -> list[Job]:
    """Queue the backups that are due, as many as the nodes make at once; returns the jobs."""
    due = BackupSchedule.due(now())
    if not due:
        return []
    limit = settings.max_backups_per_node
    busy = being_made_on({schedule.server.node_id for schedule in due})
    jobs = []
    for schedule in due:
        node_id = schedule.server.node_id
        if limit and busy.get(node_id, 0) >= limit:
            continue
        job = _back_up(schedule)
        if job is not None:
            busy[node_id] = busy.get(node_id, 0) + 1
            jobs.append(job)
    return jobs


def prune_what_is_due() -> list[Job]:
    """Queue the removal of backups that schedules do not keep any more, one a server at a time; returns the jobs."""
    found = [_prune(schedule) for schedule in BackupSchedule.to_be_pruned(now())]
    return [job for job in found if job is not None]


def _back_up(found: BackupSchedule) -> Job | None:
    """Queue a backup that is due; None: it is not any more, or its server is not to be had now."""
    with transaction():
        server, schedule = _locked(found)
        if server is None or server.status not in READY or schedule is None or not schedule.enabled:
            return None
        if schedule.next_run_at is None or schedule.next_run_at > now():
            return None
        # What it will push out makes room for it.
        times = [backup.taken_at for backup in schedule.backups() if backup.taken_at]
        staying = retention.kept([*times, now()], Keep.model_validate(schedule.keep), schedule.timezone)
        if not within_limit(server, leaving=len(times) + 1 - len(staying)):
            schedule.note_missed(next_run(schedule, now()))
            too_many, said = ResourceLimitExceededError.code, "The server has as many backups as it may have."
            told = {"server_id": str(server.id), "schedule_id": schedule.id, "backup_id": None, "job": None}
            error = {"code": too_many, "message": said}
            announce(
                EventKind.BACKUP_FAILED,
                owner_id=server.owner_id,
                resource=("server", server.id),
                data={**told, "error": error},
            )
            _record(server, "backup.create", said, too_many)
            return None
        asked = {
            "backup_id": str(uuid.uuid4()),
            "schedule_id": schedule.id,
            "storage": schedule.storage or server.node.backup_storage,
            "mode": schedule.mode,
            "compress": schedule.compress,
            "notes": "",
        }
        job = enqueue(server, JobType.BACKUP_CREATE, Actor.of_service(SCHEDULE), asked)
        Backup.to_be_made(server, asked).record()
        schedule.note_run(job.id, next_run(schedule, now()))
        _record(server, "backup.create", "It was due.")
        return job


def _prune(found: BackupSchedule) -> Job | None:
    """Queue the removal of the oldest backup that a schedule does not keep; None: there is none, or not now."""
    with transaction():
        server, schedule = _locked(found)
        if server is None or schedule is None or schedule.prune_at is None:
            return None
        backups = schedule.backups()
        staying = retention.kept(
            [backup.taken_at for backup in backups if backup.taken_at],
            Keep.model_validate(schedule.keep),
            schedule.timezone,
        )
        needed = {server.restored_from for server in Server.being_made_from(backup.id for backup in backups)}
        leaving = [backup for backup in backups if backup.taken_at not in staying and backup.id not in needed]
        if not leaving:
            schedule.note_pruning(None)
            return None
        job = enqueue(
            server, JobType.BACKUP_DELETE, Actor.of_service(SCHEDULE), {"backup_id": str(leaving[-1].id)}
        )
        schedule.note_pruning(now() + PRUNE_RETRY)
        _record(server, "backup.delete", "It need not be kept any more.")
        return job


def _locked(found: BackupSchedule) -> tuple[Server | None, BackupSchedule | None]:
    """The server, unless a job has it or it is about to go, and the schedule; the server first, as all requests do."""
    server: Server | None = locking(Server.with_places().where(Server.id == found.server_id), Server).first()
    if server is None or server.status == ServerStatus.DELETING or Job.blocking(server) is not None:
        return None, None
    schedule: BackupSchedule | None = locking(
        BackupSchedule.select().where(BackupSchedule.id == found.id), BackupSchedule
    ).first()
    return server, schedule


def _record(server: Server, action: str, message: str, outcome: str = records.DONE) -> None:
    event = records.Event(
        action,
        source=records.WORKER,
        resource_type="server",
        resource_id=server.id,
        outcome=outcome,
        message=message,
    )
    records.record(event)
