"""Shows jobs and their events."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.ansible import bundle
from jotunheim.data.job import EventView, JobStatus, JobView, OnCancel, Resource, StepStatus, StepView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.job_runs import JobRun
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import LIVE, Job, JobEvent
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.pve_tasks import PveTask

EVENTS_PER_READ = 500
FILTERS = {
    "status": Job.status,
    "type": Job.type,
    "check": Job.check_only,
    "server_id": Job.server_uuid,
    "node_id": Job.node,
    "owner_id": Job.owner_id,
    "request_id": Job.request_id,
    "requested_by": Job.requested_by,
}
SORTABLE = {
    "created_at": Job.created_at,
    "started_at": Job.started_at,
    "finished_at": Job.finished_at,
    "status": Job.status,
    "type": Job.type,
}


def list_jobs(page: Page, wanted: Mapping[str, Any]) -> Paged[JobView]:
    """A page of the jobs that these filters let through, the newest first unless `sort` says otherwise."""
    page = page if page.sort else Page(page.number, page.per_page, "-created_at")
    rows, total = paginate(narrowed(Job.select(), FILTERS, wanted), page, SORTABLE)
    return Paged(views(rows), page, total)


def read_job(id_: uuid.UUID, owner_id: int | None = None) -> JobView:
    """One job; with `owner_id` only one on this user's servers.

    Raises:
        NotFoundError: there is none.
    """
    return views([find_job(id_, owner_id)])[0]


def read_events(id_: uuid.UUID, after: int, owner_id: int | None = None) -> tuple[list[EventView], bool]:
    """Events of a job behind a cursor, and whether more may follow later.

    Raises:
        NotFoundError: there is no such job.
    """
    live = find_job(id_, owner_id).status in LIVE  # asked first: what happens after it is still in the events
    events = JobEvent.after(id_, after, EVENTS_PER_READ)
    found = [
        EventView(seq=event.seq, job_id=event.job_id, at=event.at, type=event.type, data=event.data)
        for event in events
    ]
    return found, live or len(found) == EVENTS_PER_READ


def bundle_job(id_: uuid.UUID) -> tuple[str, bytes]:
    """The last run of a job, to be done by hand.

    Returns:
        A name for the file, and its content: a tar.gz, see `ansible.bundle`.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: no playbook was run for it.
    """
    job = find_job(id_)
    run = JobRun.last_of(job)
    if run is None:
        if job.status in LIVE:
            raise ConflictError(f"Job {job.id} has not run yet.", hint="Ask again when it has steps.")
        raise ConflictError(
            f"Job {job.id} ended before a playbook was run for it, so there is nothing to bundle."
        )
    return f"{bundle.name_of(job)}.tar.gz", bundle.pack(job, run)


def view(job: Job) -> JobView:
    """A job as the API shows it."""
    return views([job])[0]


def views(jobs: Sequence[Job]) -> list[JobView]:
    """Jobs as the API shows them."""
    steps = JobStep.of(jobs)
    upids = PveTask.of(jobs)
    previews = Plan.previews_of(jobs)
    return [
        JobView(
            id=job.id,
            type=job.type,
            status=JobStatus(job.status),
            progress=job.progress,
            check=job.check_only,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            created_at=job.created_at,
            run_after=job.run_after,
            not_before=job.not_before,
            cancel_requested=OnCancel(job.cancel_requested) if job.cancel_requested else None,
            started_at=job.started_at,
            finished_at=job.finished_at,
            requested_by=job.requested_by,
            request_id=job.request_id,
            plan=previews.get(job.id),
            resources=_resources(job),
            steps=[
                StepView(
                    name=step.name,
                    status=StepStatus(step.status),
                    changed=step.changed,
                    started_at=step.started_at,
                    finished_at=step.finished_at,
                    diff=step.diff,
                    upids=step.upids,
                )
                for step in steps.get(job.id, [])
            ],
            upids=upids.get(job.id, []),
            result=job.result,
            error=job.error,
        )
        for job in jobs
    ]


def _resources(job: Job) -> list[Resource]:
    found = [("server", job.server_uuid), ("node", job.node_id)]
    return [Resource(type=type_, id=str(id_)) for type_, id_ in found if id_ is not None]


def find_job(id_: uuid.UUID, owner_id: int | None = None) -> Job:
    """One job; with `owner_id` only one on this user's servers.

    Raises:
        NotFoundError: there is none.
    """
    job = Job.find(id_, owner_id)
    if job is None:
        raise NotFoundError("job", id_)
    return job
