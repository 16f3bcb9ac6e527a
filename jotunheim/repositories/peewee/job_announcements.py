"""What webhooks are told of a job that has ended."""

from typing import TYPE_CHECKING, Any

from jotunheim.data.job import JobError, JobStatus, JobType, Resource, client_error, client_result
from jotunheim.data.webhook.event import ClientJobTold, JobTold
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.repositories.peewee.announcements import announce

if TYPE_CHECKING:
    from jotunheim.repositories.peewee.jobs import Job

_KINDS = {
    JobStatus.SUCCEEDED: EventKind.JOB_SUCCEEDED,
    JobStatus.FAILED: EventKind.JOB_FAILED,
    JobStatus.CANCELLED: EventKind.JOB_CANCELLED,
}


def announce_end(job: "Job") -> None:
    """Announce how a job has ended, in the transaction that says so; a backup that was not made is told as such, too."""
    told = _told(job)
    owners, operators = {"job": _for_owner(told)}, {"job": told.model_dump(mode="json")}
    about = ("job", job.id)
    announce(_KINDS[told.status], owner_id=job.owner_id, resource=about, data=owners, operators=operators)
    if told.status is JobStatus.FAILED and job.type == JobType.BACKUP_CREATE and not job.check_only:
        asked = {name: job.parameters.get(name) for name in ("schedule_id", "backup_id")}
        backup = {"server_id": str(job.server_uuid), **asked}
        announce(
            EventKind.BACKUP_FAILED,
            owner_id=job.owner_id,
            resource=about,
            data={**backup, **owners, "error": owners["job"]["error"]},
            operators={**operators, "error": operators["job"]["error"]},
        )


def _told(job: "Job") -> JobTold:
    about = [("server", job.server_uuid), ("node", job.node_id)]
    return JobTold(
        id=job.id,
        type=job.type,
        status=JobStatus(job.status),
        check=job.check_only,
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        resources=[Resource(type=type_, id=str(id_)) for type_, id_ in about if id_ is not None],
        result=job.result,
        error=JobError.model_validate(job.error) if job.error else None,
        requested_by=job.requested_by,
        request_id=job.request_id,
    )


def _for_owner(told: JobTold) -> dict[str, Any]:
    shown = told.model_dump(mode="json")
    shown |= {
        "resources": [resource for resource in shown["resources"] if resource["type"] == "server"],
        "result": client_result(told.type, told.result),
        "error": client_error(told.error),
    }
    return ClientJobTold.model_validate(shown).model_dump(mode="json")
