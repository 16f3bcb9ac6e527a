"""What jobs have done with servers before: queries on jobs that are over, or under way, by those who decide what comes next."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from jotunheim.data.job import JobStatus, JobType
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server

_GIVEN_UP = (JobStatus.FAILED, JobStatus.CANCELLED)


def all_of(server: Server, type_: str) -> Any:
    """A select of a server's jobs of a type, the newest first, previews left out."""
    these = (Job.server == server) & (Job.type == type_) & ~Job.check_only
    return Job.select().where(these).order_by(Job.created_at.desc())


def last_of(server: Server, type_: str) -> Job | None:
    """A server's newest job of a type, previews left out."""
    found: Job | None = all_of(server, type_).first()
    return found


def busy_since(server: Server, at: datetime) -> bool:
    """Whether a job worked on a server at some time after this one, or still does."""
    later = Job.finished_at.is_null() | (Job.finished_at >= at)
    worked = Job.started_at.is_null(False) & later
    return bool(Job.select().where((Job.server == server) & worked).exists())


def others_worked_since(job: Job) -> bool:
    """Whether another job has succeeded on the same server since this one ended, previews left out."""
    later = (Job.finished_at > job.finished_at) & (Job.status == JobStatus.SUCCEEDED)
    same = (Job.server == job.server_id) & (Job.id != job.id) & ~Job.check_only
    return bool(Job.select().where(same & later).exists())


def failures_of(
    requested_by: str, server_ids: Iterable[uuid.UUID], *, since: datetime
) -> dict[uuid.UUID, list[datetime]]:
    """When the jobs that somebody has asked for have failed, or were cancelled, by server id, the oldest first.

    Those before the last one that succeeded are left out, and those before `since`.
    """
    mine = Job.server.in_(list(server_ids)) & (Job.requested_by == requested_by) & (Job.finished_at > since)
    ended: Any = (
        Job.select(Job.server, Job.status, Job.finished_at)
        .where(mine & ~Job.check_only)
        .order_by(Job.finished_at)
        .tuples()
    )
    found: dict[uuid.UUID, list[datetime]] = {}
    for server_id, status, finished_at in ended:
        if status in _GIVEN_UP:
            found.setdefault(server_id, []).append(finished_at)
        else:
            found.pop(server_id, None)
    return found


def gave_up_imports(server_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these servers that were to be imported, and were not: their VMs may have our mark."""
    imports = Job.server_uuid.in_(list(server_ids)) & (Job.type == JobType.IMPORT)
    query = Job.select(Job.server_uuid).where(imports & Job.status.in_(_GIVEN_UP))
    return {job.server_uuid for job in query if job.server_uuid}
