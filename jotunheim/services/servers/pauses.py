"""How long the service leaves a server alone after a job of its own about it has failed: longer with every failure."""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.database import now

FIRST = timedelta(minutes=10)
LAST = timedelta(days=1)
_REMEMBERED = timedelta(days=7)


def after(failures: int) -> timedelta:
    """The pause after so many failures, one or more, of which none was followed by a success."""
    doublings = min(failures - 1, 10)  # a timedelta has an end
    return min(LAST, FIRST * (1 << doublings))


def resting(requested_by: str, server_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these servers that have such a pause now, from the jobs that a part of the service has asked for."""
    at = now()
    failures = job_history.failures_of(requested_by, server_ids, since=at - _REMEMBERED)
    return {id_ for id_, times in failures.items() if at - times[-1] < after(len(times))}
