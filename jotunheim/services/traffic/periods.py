"""The months in which traffic is counted, of one time zone."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Period:
    """A month: its name, e.g. `2026-11`, when it begins, and when the next one does."""

    name: str
    begins_at: datetime
    ends_at: datetime


def period_at(at: datetime, timezone: str) -> Period:
    """The month of a time."""
    local = at.astimezone(ZoneInfo(timezone))
    begins = datetime(local.year, local.month, 1, tzinfo=local.tzinfo)
    ends = datetime(local.year + local.month // 12, local.month % 12 + 1, 1, tzinfo=local.tzinfo)
    return Period(f"{local.year:04}-{local.month:02}", begins, ends)


def months_before(period: Period, count: int) -> str:
    """The name of the month that was so many months earlier."""
    year, month = divmod(period.begins_at.year * 12 + period.begins_at.month - 1 - count, 12)
    return f"{max(year, 0):04}-{month + 1:02}"
