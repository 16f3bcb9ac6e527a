"""Which part of a recorded history is wanted."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.database import EPOCH, now


def span(
    resolutions: Mapping[int, timedelta],
    resolution_seconds: int,
    since: datetime | None,
    until: datetime | None,
) -> tuple[datetime, datetime]:
    """The time that is wanted.

    Args:
        resolutions: how long entries are kept, by the seconds that one stands for.
        resolution_seconds: which of them is wanted.
        since, until: None: as far back as it is kept, and up to now.

    Raises:
        DataValidationError: there is no such resolution, or the time ends before it begins.
    """
    kept = resolutions.get(resolution_seconds)
    if kept is None:
        said = f"must be one of {', '.join(map(str, resolutions))}"
        raise DataValidationError([FieldProblem("resolution_seconds", said)])
    until = until or now() + timedelta(seconds=1)
    since = since or max(until, EPOCH + kept) - kept  # there is nothing before the year 1
    if since >= until:
        raise DataValidationError([FieldProblem("since", "must be before until")])
    return since, until
