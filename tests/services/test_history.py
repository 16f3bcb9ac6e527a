"""Which part of a recorded history is wanted."""

from datetime import UTC, datetime, timedelta

import pytest

from jotunheim.exceptions.model import DataValidationError
from jotunheim.repositories.peewee.database import now
from jotunheim.services.history import span

KEPT = {60: timedelta(days=1)}


def test_it_is_as_long_as_it_is_kept_unless_somebody_says_so() -> None:
    until = datetime(2026, 11, 26, tzinfo=UTC)
    assert span(KEPT, 60, None, until) == (until - timedelta(days=1), until)
    since, up_to = span(KEPT, 60, None, None)
    assert up_to - since == timedelta(days=1)
    assert up_to >= now()


@pytest.mark.parametrize(
    ("seconds", "since", "until"),
    [
        (61, None, None),
        (60, datetime(9999, 12, 31, tzinfo=UTC), None),
        (60, None, datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_cannot_be_is_refused(seconds: int, since: datetime | None, until: datetime | None) -> None:
    with pytest.raises(DataValidationError):
        span(KEPT, seconds, since, until)
