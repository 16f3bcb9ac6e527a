"""Schedules of backups: keeping them, and what is due by them.

A server is locked by the job that backs it up, also while that waits. So no more backups are asked for on a node than it makes at once: a
schedule that is due waits for its turn, the longest due first. However long that takes, and however long no worker ran, what was missed
is caught up once.
"""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.data.backup.schedule import ClientScheduleChange, ClientScheduleSpec, Keep, ScheduleView
from jotunheim.data.backup.status import BackupMode, Compression
from jotunheim.data.job import JobType
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule, being_made_on
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import locking, now, transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import resources
from jotunheim.services.audit import records
from jotunheim.services.backups import retention
from jotunheim.services.backups.requests import assert_storage, within_limit
from jotunheim.services.servers.requests import READY, enqueue
from jotunheim.settings import Settings

MAX_SCHEDULES = 20
"""How many a server may have."""
SCHEDULE = "schedule"
"""Who asks when a backup is due, or need not be kept any more."""
PRUNE_RETRY = timedelta(minutes=10)
"""How long a backup that could not be removed is left alone."""
_LOOKED_AHEAD = 50
_FAR = timedelta(days=366 * 9)  # the 29th of February comes after eight years at most

FILTERS = {"enabled": BackupSchedule.enabled}
SORTABLE = {
    "id": BackupSchedule.id,
    "next_run_at": BackupSchedule.next_run_at,
    "last_run_at": BackupSchedule.last_run_at,
    "created_at": BackupSchedule.created_at,
    "updated_at": BackupSchedule.updated_at,
}


def find(id_: int, server: Server, if_match: str | None = None) -> BackupSchedule:
    """A schedule of a server; within a transaction nobody else changes it until that ends.

    Raises:
        NotFoundError: there is none.
        PreconditionFailedError: it has another version.
    """
    wanted = BackupSchedule.select().where((BackupSchedule.id == id_) & (BackupSchedule.server == server))
    schedule: BackupSchedule | None = locking(wanted, BackupSchedule).first()
    if schedule is None:
        raise NotFoundError("backup schedule", id_)
    resources.assert_version("backup schedule", schedule, if_match)
    return schedule


def list_schedules(server: Server, page: Page, wanted: Mapping[str, Any]) -> Paged[ScheduleView]:
    """A page of a server's schedules that these filters let through."""
    query = narrowed(BackupSchedule.select().where(BackupSchedule.server == server), FILTERS, wanted)
    rows, total = paginate(query, page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def create_schedule(
    server: Server, spec: ClientScheduleSpec, actor: Actor, settings: Settings
) -> BackupSchedule:
    """Record a schedule.

    Raises:
        DataValidationError: its owner may not have backups made that often, or the node has no such storage.
        ResourceLimitExceededError: the server has as many as it may have.
    """
    if BackupSchedule.count_of(server) >= MAX_SCHEDULES:
        raise ResourceLimitExceededError(
            f"A server may have {MAX_SCHEDULES} schedules.", hint="Delete one first."
        )
    columns = spec.model_dump(mode="json")
    assert_storage(server.node, columns.get("storage"))
    _assert_seldom_enough(columns["cron"], columns["timezone"], actor, settings)
    schedule: BackupSchedule = BackupSchedule.create(server=server, **columns)
    schedule.change(next_run_at=next_run(schedule, now()))
    return schedule


def change_schedule(
    schedule: BackupSchedule, change: ClientScheduleChange, actor: Actor, settings: Settings
) -> None:
    """Change a schedule. What is due by its new times is what comes next; its backups are looked through.

    Raises:
        DataValidationError: its owner may not have backups made that often, or the node has no such storage.
    """
    columns = change.model_dump(mode="json", exclude_unset=True)
    assert_storage(schedule.server.node, columns.get("storage"))
    _assert_seldom_enough(
        columns.get("cron", schedule.cron), columns.get("timezone", schedule.timezone), actor, settings
    )
    schedule.change(**columns)
    schedule.change(next_run_at=next_run(schedule, now()), prune_at=now())


def delete_schedule(schedule: BackupSchedule) -> None:
    """Forget a schedule. Its backups stay, and are nobody's to remove but a person's."""
    Backup.leave_schedule(schedule.id)
    schedule.delete_instance()


def view(schedule: BackupSchedule) -> ScheduleView:
    """A schedule as the API shows it."""
    return ScheduleView(
        id=schedule.id,
        server_id=schedule.server_id,
        cron=schedule.cron,
        timezone=schedule.timezone,
        jitter_seconds=schedule.jitter_seconds,
        mode=BackupMode(schedule.mode),
        compress=Compression(schedule.compress),
        storage=schedule.storage,
        keep=Keep.model_validate(schedule.keep),
        enabled=schedule.enabled,
        next_run_at=schedule.next_run_at if schedule.enabled else None,
        last_run_at=schedule.last_run_at,
        last_job_id=schedule.last_job_id,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
    )


def next_run(schedule: BackupSchedule, after: datetime) -> datetime | None:
    """When a schedule's next backup is due; None: never."""
    for at in occurrences(schedule.cron, schedule.timezone, after):
        return at + _jitter(schedule, at)
    return None


def occurrences(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """The times that a cron expression means, in UTC; none that is years away."""
    for at in CronSim(cron, after.astimezone(ZoneInfo(timezone))):
        if at - after > _FAR:
            return
        yield at.astimezone(UTC)


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
            schedule.note_run(schedule.last_job_id, next_run(schedule, now()))
            too_many = ResourceLimitExceededError.code
            _record(server, "backup.create", "The server has as many backups as it may have.", too_many)
            return None
        asked = {
            "backup_id": str(uuid.uuid4()),
            "schedule_id": schedule.id,
            "storage": schedule.storage or server.node.backup_storage,
            "mode": schedule.mode,
            "compress": schedule.compress,
            "notes": "",
        }
        job = enqueue(server, JobType.BACKUP_CREATE, _actor(), asked)
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
        leaving = [backup for backup in backups if backup.taken_at not in staying]
        if not leaving:
            schedule.note_pruning(None)
            return None
        job = enqueue(server, JobType.BACKUP_DELETE, _actor(), {"backup_id": str(leaving[-1].id)})
        schedule.note_pruning(now() + PRUNE_RETRY)
        _record(server, "backup.delete", "It need not be kept any more.")
        return job


def _locked(found: BackupSchedule) -> tuple[Server | None, BackupSchedule | None]:
    """The server, unless a job has it or it is about to go, and the schedule; the server first, as all requests do."""
    server: Server | None = locking(
        Server.with_places({}).where(Server.id == found.server_id), Server
    ).first()
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


def _actor() -> Actor:
    id_ = f"{SCHEDULE}-{uuid.uuid4()}"
    return Actor(user_id=0, email=SCHEDULE, role=ADMIN, scopes=frozenset(), request_id=id_)


def _jitter(schedule: BackupSchedule, at: datetime) -> timedelta:
    """How much later one backup begins: always as much for the same one, so that a restart changes nothing."""
    if not schedule.jitter_seconds:
        return timedelta()
    digest = hashlib.sha256(f"{schedule.id} {at.isoformat()}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % (schedule.jitter_seconds + 1))


def _assert_seldom_enough(cron: str, timezone: str, actor: Actor, settings: Settings) -> None:
    """Raise DataValidationError when an owner wants backups more often than owners may."""
    if actor.role == ADMIN:
        return
    least = timedelta(seconds=settings.backup_schedule_seconds)
    times = islice(occurrences(cron, timezone, now()), _LOOKED_AHEAD)
    if any(later - earlier < least for earlier, later in pairwise(times)):
        raise DataValidationError(
            [
                FieldProblem(
                    "cron",
                    f"must not be met more often than every {settings.backup_schedule_seconds} seconds",
                )
            ]
        )
