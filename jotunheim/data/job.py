"""Jobs: the words for their state, and what the API answers about them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from jotunheim.data.fields import View


class JobStatus(StrEnum):
    """Life of a job; the legal moves stand in `repositories.peewee.jobs`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


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
    started_at: datetime | None
    finished_at: datetime | None
    requested_by: str
    request_id: str
    resources: list[Resource]
    steps: list[StepView]
    upids: list[str]
    error: JobError | None


class EventView(View):
    """One thing that happened in a job; `seq` grows over all jobs and is the cursor."""

    seq: int
    job_id: UUID
    at: datetime
    type: str
    data: dict[str, Any]
