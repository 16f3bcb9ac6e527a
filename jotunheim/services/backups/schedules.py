"""Schedules of backups: keeping them, and the times that they mean."""

import hashlib
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
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import locking, now, previewed
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import resources
from jotunheim.services.backups.requests import assert_storage
from jotunheim.settings import Settings

MAX_SCHEDULES = 20
"""How many a server may have."""
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
    server: Server, spec: ClientScheduleSpec, actor: Actor, settings: Settings, *, check: bool
) -> BackupSchedule:
    """Record a schedule; a preview is undone.

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
    with previewed(check):
        schedule: BackupSchedule = BackupSchedule.create(server=server, **columns)
        schedule.change(next_run_at=next_run(schedule, now()))
    return schedule


def change_schedule(
    schedule: BackupSchedule, change: ClientScheduleChange, actor: Actor, settings: Settings, *, check: bool
) -> None:
    """Change a schedule; a preview is undone. What is due by its new times is what comes next; its backups are looked through.

    Raises:
        DataValidationError: its owner may not have backups made that often, or the node has no such storage.
    """
    columns = change.model_dump(mode="json", exclude_unset=True)
    assert_storage(schedule.server.node, columns.get("storage"))
    _assert_seldom_enough(
        columns.get("cron", schedule.cron), columns.get("timezone", schedule.timezone), actor, settings
    )
    with previewed(check):
        schedule.change(**columns)
        schedule.change(next_run_at=next_run(schedule, now()), prune_at=now())


def delete_schedule(schedule: BackupSchedule, *, check: bool) -> None:
    """Forget a schedule; a preview is undone. Its backups stay, and are nobody's to remove but a person's."""
    with previewed(check):
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
