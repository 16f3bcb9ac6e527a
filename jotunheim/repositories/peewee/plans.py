"""Plans: what a preview saw and showed, so that just that can be applied, once."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from peewee import BooleanField, ForeignKeyField, IntegerField, JSONField

from jotunheim.repositories.peewee.database import Table
from jotunheim.repositories.peewee.jobs import Job


class Plan(Table):
    """What belongs to one preview. Nothing in it is secret."""

    preview = ForeignKeyField(Job, backref="plans", primary_key=True, on_delete="CASCADE")
    preview_id: uuid.UUID
    request = JSONField()
    """What was asked for, without passwords."""
    record = JSONField(null=True)
    """Our record of the server when it was asked: `{"version", "status"}`; None: there was none, it is a creation."""
    watched = JSONField()
    """What of the node counts: the arguments of `repositories.proxmox.state.read`."""
    seen = JSONField(null=True)
    """That part of the node's state, as it was before the preview's run looked at anything else."""
    seen_fence = IntegerField(null=True)
    """The attempt that saw it."""
    applied_by = ForeignKeyField(Job, backref="applied_plans", null=True, unique=True, on_delete="CASCADE")
    applied_by_id: uuid.UUID | None
    begun = BooleanField(default=False)
    """Whether that job has begun to change something. From then on a moved state may be its own work."""

    @classmethod
    def of_preview(cls, job_id: uuid.UUID) -> "Plan | None":
        """The plan that a preview makes; None: the job is no preview, or an old one."""
        found: Plan | None = cls.get_or_none(cls.preview == job_id)
        return found

    @classmethod
    def applied_in(cls, job_id: uuid.UUID) -> "Plan | None":
        """The plan that a job applies; None: it applies none."""
        found: Plan | None = cls.get_or_none(cls.applied_by == job_id)
        return found

    @classmethod
    def previews_of(cls, jobs: Iterable[Job]) -> dict[uuid.UUID, uuid.UUID]:
        """For each of these jobs that applies a plan the preview that made it, by the job's id."""
        query = cls.select(cls.applied_by, cls.preview).where(cls.applied_by.in_([job.id for job in jobs]))
        return {plan.applied_by_id: plan.preview_id for plan in query if plan.applied_by_id}

    @property
    def outdated_hint(self) -> str:
        """What a person can do when the job that applies it finds that something has moved."""
        is_creation = self.record is None and self.applied_by is not None and self.applied_by.server_uuid
        # Its server is recorded, though nothing of it was made.
        return "Delete the server, then preview again." if is_creation else "Preview again."

    def see(self, state: Mapping[str, Any], fence: int) -> None:
        """Keep what an attempt of the preview saw first; what an earlier attempt saw is of no use any more."""
        Plan.update(seen=dict(state), seen_fence=fence).where(Plan.preview == self.preview_id).execute()

    def apply(self, job: Job) -> bool:
        """Let a job apply the plan; False when another one does."""
        free = (Plan.preview == self.preview_id) & Plan.applied_by.is_null()
        return bool(Plan.update(applied_by=job).where(free).execute())

    def begin(self) -> None:
        """The job that applies the plan is about to change something."""
        Plan.update(begun=True).where(Plan.preview == self.preview_id).execute()
