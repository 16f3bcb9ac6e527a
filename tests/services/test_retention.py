"""Which backups are kept, and when the next one is due."""

from datetime import UTC, datetime, timedelta

import pytest

from jotunheim.data.backup.schedule import Keep
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule
from jotunheim.services.backups.retention import kept
from jotunheim.services.backups.schedules import next_run, occurrences

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday


def every(step: timedelta, count: int, last: datetime = NOON) -> list[datetime]:
    """Times of so many backups, the newest first."""
    return [last - step * number for number in range(count)]


def test_without_any_rule_all_are_kept() -> None:
    taken = every(timedelta(hours=1), 50)
    assert kept(taken, Keep(), "UTC") == set(taken)
    assert kept([], Keep(last=3), "UTC") == set()


@pytest.mark.parametrize(
    ("keep", "step", "wanted"),
    [
        (Keep(last=3), timedelta(minutes=5), [0, 1, 2]),
        (Keep(hourly=2), timedelta(minutes=20), [0, 1]),  # 12:00, then 11:40
        (
            Keep(daily=3),
            timedelta(hours=8),
            [0, 2, 5],
        ),  # 12:00, the day before 20:00, and the one before that
        (Keep(weekly=2), timedelta(days=1), [0, 3]),  # Wednesday, Sunday
        (Keep(monthly=2), timedelta(days=5), [0, 5]),  # 25 November, 31 October
        (Keep(last=1, daily=2), timedelta(hours=12), [0, 2, 4]),  # today is covered by the last one
        (Keep(last=2, hourly=1), timedelta(minutes=10), [0, 1, 7]),  # the last two cover the hours 12 and 11
    ],
)
def test_each_rule_keeps_the_newest_of_its_periods(keep: Keep, step: timedelta, wanted: list[int]) -> None:
    taken = every(step, 60)
    chosen = sorted(kept(taken, keep, "UTC"), reverse=True)
    assert [taken.index(at) for at in chosen] == wanted


def test_the_newest_is_always_kept() -> None:
    taken = every(timedelta(hours=7), 40)
    for name in ("last", "hourly", "daily", "weekly", "monthly"):
        assert taken[0] in kept(taken, Keep(**{name: 1}), "UTC")


def test_days_are_those_of_the_time_zone() -> None:
    late, later = datetime(2026, 11, 24, 22, 30, tzinfo=UTC), datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert kept([late, later], Keep(daily=5), "UTC") == {later}
    assert kept([late, later], Keep(daily=5), "Europe/Berlin") == {late, later}  # half past midnight there


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert kept([first, second], Keep(hourly=5), "Europe/Berlin") == {first, second}


def test_hours_are_those_of_the_time_zone_in_summer_and_winter() -> None:
    summer = next(occurrences("30 3 * * *", "Europe/Berlin", datetime(2026, 7, 1, tzinfo=UTC)))
    winter = next(occurrences("30 3 * * *", "Europe/Berlin", datetime(2026, 12, 1, tzinfo=UTC)))
    assert (summer.hour, winter.hour) == (1, 2)


def test_what_never_comes_is_not_due() -> None:
    assert next(occurrences("0 0 29 2 *", "UTC", NOON)) == datetime(2028, 2, 29, tzinfo=UTC)
    monday = next(occurrences("0 0 29 2 1", "UTC", NOON))  # the 29th or a Monday, as cron has it
    assert monday == datetime(2027, 2, 1, tzinfo=UTC)
    assert next_run(BackupSchedule(id=1, cron="0 0 * * *", timezone="UTC"), NOON) == NOON + timedelta(
        hours=12
    )


def test_jitter_is_within_its_bound_and_the_same_for_the_same_backup() -> None:
    plain = {"cron": "0 0 * * *", "timezone": "UTC", "jitter_seconds": 600}
    due = [next_run(BackupSchedule(id=number, **plain), NOON) for number in range(50)]
    again = [next_run(BackupSchedule(id=number, **plain), NOON) for number in range(50)]
    assert due == again
    late = {at - (NOON + timedelta(hours=12)) for at in due if at}
    assert len(late) > 25
    assert all(timedelta() <= by <= timedelta(minutes=10) for by in late)
