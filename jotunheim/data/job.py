"""Jobs: the words for their state, and what the API answers about them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from jotunheim.data.fields import Shape, View


class JobType(StrEnum):
    """What a job can be about; one module of `jobs` each."""

    BUILD = "server.build"
    CONFIGURE = "server.configure"
    FIREWALL = "server.firewall"
    REBUILD = "server.rebuild"
    PASSWORD = "server.password"  # noqa: S105 - the name of a job
    POWER = "server.power"
    SUSPEND = "server.suspend"
    UNSUSPEND = "server.unsuspend"
    DELETE = "server.delete"
    IMPORT = "server.import"
    SNAPSHOT_CREATE = "snapshot.create"
    SNAPSHOT_ROLLBACK = "snapshot.rollback"
    SNAPSHOT_DELETE = "snapshot.delete"
    BACKUP_CREATE = "backup.create"
    BACKUP_RESTORE = "backup.restore"
    BACKUP_LOCK = "backup.lock"
    BACKUP_UNLOCK = "backup.unlock"
    BACKUP_DELETE = "backup.delete"
    NODE_SYNC = "node.sync"
    NODE_SCAN = "node.scan"
    ORPHAN_PRUNE = "orphan.prune"
    NODE_DRIFT = "node.drift"


BACKUP_JOBS = frozenset(
    {
        JobType.BACKUP_CREATE,
        JobType.BACKUP_RESTORE,
        JobType.BACKUP_LOCK,
        JobType.BACKUP_UNLOCK,
        JobType.BACKUP_DELETE,
    }
)
"""Jobs about one backup; their parameters name it."""
CLONING = frozenset({JobType.BUILD, JobType.REBUILD, JobType.BACKUP_RESTORE})
"""Jobs that write whole disks: nodes and storages bound how many do so at once."""


BATCHED = frozenset(
    {
        JobType.BUILD,
        JobType.CONFIGURE,
        JobType.FIREWALL,
        JobType.REBUILD,
        JobType.PASSWORD,
        JobType.POWER,
        JobType.SUSPEND,
        JobType.UNSUSPEND,
        JobType.DELETE,
        JobType.SNAPSHOT_CREATE,
        JobType.SNAPSHOT_ROLLBACK,
        JobType.SNAPSHOT_DELETE,
    }
)
"""Jobs that one worker's slot may carry out together with others of the same type. What takes hours has a slot for itself."""


class JobStatus(StrEnum):
    """Life of a job; the legal moves stand in `repositories.peewee.jobs`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class OnCancel(StrEnum):
    """What becomes of what a job has made so far, when it is cancelled."""

    CLEANUP = "cleanup"
    KEEP = "keep"


class CancelRequest(Shape):
    """That a job shall be cancelled."""

    on_cancel: OnCancel = OnCancel.CLEANUP
    """Whether what it has made so far goes, or stays. A job that has not begun has made nothing."""


class StepStatus(StrEnum):
    """State of one visible stage of a job."""

    RUNNING = "running"
    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"


class JobError(View):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool
    hint: str | None = None


class Resource(View):
    """Something that a job is about."""

    type: str
    id: str


class StepView(View):
    """One stage of a job, named after the task of the playbook."""

    name: str
    status: StepStatus
    changed: bool
    started_at: datetime
    finished_at: datetime | None
    diff: list[dict[str, Any]] | None = None
    upids: list[str]
    """The Proxmox tasks that it started, or found under way; known when it has ended."""


class JobView(View):
    """A requested change, as the API shows it."""

    id: UUID
    type: str
    status: JobStatus
    progress: int
    """0 to 100."""
    check: bool
    attempt: int
    max_attempts: int
    created_at: datetime
    run_after: datetime | None
    """A scheduled job waits until then; its server is not locked meanwhile."""
    not_before: datetime | None
    """A job whose last attempt failed is tried again then; `error` says why it failed."""
    cancel_requested: OnCancel | None
    """It is being cancelled."""
    started_at: datetime | None
    finished_at: datetime | None
    requested_by: str
    request_id: str
    plan: UUID | None
    """The preview that it applies."""
    resources: list[Resource]
    steps: list[StepView]
    upids: list[str]
    result: dict[str, Any] | None
    """What the work led to, beyond the server's own state; see docs/api.md for each type."""
    error: JobError | None


class EventView(View):
    """One thing that happened in a job; `seq` grows over all jobs and is the cursor."""

    seq: int
    job_id: UUID
    at: datetime
    type: str
    data: dict[str, Any]


class ClientStep(View):
    """One stage of a job, as an owner sees it."""

    name: str
    status: StepStatus
    changed: bool
    started_at: datetime
    finished_at: datetime | None


class ClientJobView(View):
    """A job as the owner of its server sees it: nothing of nodes and their tasks."""

    id: UUID
    type: str
    status: JobStatus
    progress: int
    check: bool
    attempt: int
    max_attempts: int
    created_at: datetime
    run_after: datetime | None
    not_before: datetime | None
    cancel_requested: OnCancel | None
    started_at: datetime | None
    finished_at: datetime | None
    plan: UUID | None
    resources: list[Resource]
    steps: list[ClientStep]
    result: dict[str, Any] | None
    error: JobError | None

    @classmethod
    def of(cls, job: JobView) -> "ClientJobView":
        """The owner's part of what an operator sees."""
        shown = job.model_dump()
        shown["resources"] = [resource for resource in shown["resources"] if resource["type"] == "server"]
        shown["error"] = client_error(job.error)
        shown["result"] = client_result(job.type, job.result)
        return cls.model_validate(shown)


OWNERS_CODES = {
    "guest_refused": "The guest refused the change.",
    "resource_limit_exceeded": "The server has as many as it may have.",
    "plan_outdated": "The server is no longer as the preview found it; nothing was changed.",
    "shutdown_timeout": "The guest did not shut down in time.",
    "backup_not_found": "The backup is no longer on its storage.",
    "backup_protected": "The backup is locked.",
    "snapshot_not_found": "There is no such snapshot.",
    "snapshots_exist": "The server has snapshots, and they were not given up.",
    "vm_running": "The server runs, and was not to be stopped.",
    "vm_locked": "The server is busy with something else.",
    "node_unavailable": "The hypervisor does not answer.",
}
"""What an owner reads for each code that they can do something about; messages name nodes and VMIDs."""


def client_error(error: JobError | None) -> JobError | None:
    """An error without what is the operator's."""
    if error is None:
        return None
    message = OWNERS_CODES.get(error.code, "The job failed; the operator can see why under its id.")
    return JobError(code=error.code, message=message, retryable=error.retryable)


def client_result(type_: str, result: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the work led to without what is the operator's: volumes of their storages."""
    return None if type_ in (JobType.DELETE, JobType.BACKUP_CREATE) else result


def client_event(event: EventView) -> EventView | None:
    """An event as the owner of a server sees it; None: it is the operator's."""
    if not event.type.startswith(("job.", "step.")):
        return None
    data = {key: value for key, value in event.data.items() if key != "diff"}
    if data.get("error"):
        error = client_error(JobError.model_validate(data["error"]))
        data["error"] = error.model_dump() if error else None
    return event.model_copy(update={"data": data})
