"""Which backups of a schedule are kept: the rules of Proxmox VE's own pruning.

One rule after the other (last, hourly, daily, weekly, monthly) goes through the backups from the newest to the oldest, and keeps the newest
one of each period that has none yet that is kept, until it has as many as it may.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from jotunheim.data.backup.schedule import Keep

PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "last": lambda at: at,
    "hourly": lambda at: (at.date(), at.hour, at.utcoffset()),
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
}
"""For each rule what two backups of the same period have in common."""


def kept(taken: Iterable[datetime], keep: Keep, timezone: str) -> set[datetime]:
    """Those of the backups that are kept.

    Args:
        taken: when they were made.
        timezone: what hours, days, weeks and months are of.
    """
    zone = ZoneInfo(timezone)
    newest_first = sorted(set(taken), reverse=True)
    if not any(getattr(keep, name) for name in PERIODS):
        return set(newest_first)
    chosen: set[datetime] = set()
    for name, period_of in PERIODS.items():
        covered = {period_of(at.astimezone(zone)) for at in chosen}
        left = getattr(keep, name)
        for at in newest_first:
            if not left:
                break
            period = period_of(at.astimezone(zone))
            if at in chosen or period in covered:
                continue
            chosen.add(at)
            covered.add(period)
            left -= 1
    return chosen
