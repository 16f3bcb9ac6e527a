"""When backups are made by themselves, and how long they are kept."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from jotunheim.data.backup.status import BackupMode, Compression
from jotunheim.data.fields import Change, Shape, StorageId, View

MAX_KEPT = 1000
MAX_JITTER_SECONDS = 6 * 3600


def _cron(value: str) -> str:
    try:
        CronSim(value, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(
            f"must be five fields as of cron, e.g. 30 3 * * 1-5: minute, hour, day, month, weekday ({error})"
        ) from None
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone, e.g. UTC or Europe/Berlin") from None
    return value


Cron = Annotated[str, Field(max_length=100), AfterValidator(_cron)]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_time_zone)]
Kept = Annotated[int, Field(ge=0, le=MAX_KEPT)]
Jitter = Annotated[int, Field(ge=0, le=MAX_JITTER_SECONDS)]


class Keep(Shape):
    """Which of a schedule's backups are kept: the newest of each of so many hours, days, weeks and months that have one.

    All zero: all of them.
    """

    last: Kept = 0
    """The newest, whenever they were made."""
    hourly: Kept = 0
    daily: Kept = 0
    weekly: Kept = 0
    """Weeks begin on Monday."""
    monthly: Kept = 0


class ClientScheduleSpec(Shape):
    """Backups to be made again and again."""

    cron: Cron
    """Minute, hour, day, month, weekday: `30 3 * * *` is every day at half past three."""
    timezone: TimeZone = "UTC"
    """What its hours are of, e.g. `Europe/Berlin`. A time that summer time skips is met when that begins."""
    jitter_seconds: Jitter = 0
    """Each backup begins up to so much later, another time for each, so that not all begin at once."""
    mode: BackupMode = BackupMode.SNAPSHOT
    compress: Compression = Compression.ZSTD
    keep: Keep = Keep()
    enabled: bool = True


class ScheduleSpec(ClientScheduleSpec):
    """Backups to be made again and again, as an operator asks for them."""

    storage: StorageId | None = None
    """None: the node's `backup_storage`, as it is then."""


class ClientScheduleChange(Change):
    """A change of a schedule."""

    cron: Cron | None = None
    timezone: TimeZone | None = None
    jitter_seconds: Jitter | None = None
    mode: BackupMode | None = None
    compress: Compression | None = None
    keep: Keep | None = None
    """All of it."""
    enabled: bool | None = None


class ScheduleChange(ClientScheduleChange):
    """A change of a schedule by an operator."""

    NULLABLE = frozenset({"storage"})

    storage: StorageId | None = None
    """Null: the node's `backup_storage`."""


class ClientScheduleView(View):
    """A schedule as the owner of its server sees it."""

    id: int
    server_id: UUID
    cron: str
    timezone: str
    jitter_seconds: int
    mode: BackupMode
    compress: Compression
    keep: Keep
    enabled: bool
    next_run_at: datetime | None
    """When the next backup is due; null: never."""
    last_run_at: datetime | None
    """When the last one was asked for."""
    last_job_id: UUID | None
    """The job of that."""
    created_at: datetime
    updated_at: datetime


class ScheduleView(ClientScheduleView):
    """A schedule of backups of a server."""

    storage: str | None
