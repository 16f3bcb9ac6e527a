"""Turns the events of a run into the steps of a job, while it runs."""

import logging

from jotunheim.ansible.events import Kind, TaskEvent
from jotunheim.data.job import StepStatus
from jotunheim.exceptions.repository import LeaseLostError
from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job

log = logging.getLogger(__name__)

_STATUS = {Kind.OK: StepStatus.OK, Kind.SKIPPED: StepStatus.SKIPPED, Kind.FAILED: StepStatus.FAILED}


class StepRecorder:
    """Writes the steps of one job.

    Args:
        job: the job, claimed.
        expected: how many steps the playbook has, for the progress.
    """

    def __init__(self, job: Job, expected: int) -> None:
        self._job = job
        self._expected = max(expected, 1)
        self._finished = 0
        self._open: JobStep | None = None
        self.lease_lost = False

    def record(self, event: TaskEvent) -> None:
        """Write one event down; once the lease is lost, nothing more."""
        if self.lease_lost or (event.hidden and event.kind is not Kind.FAILED):
            return
        try:
            with transaction():
                self._job.assert_lease()
                self._write(event)
        except LeaseLostError:
            self.lease_lost = True
            log.warning("Job %s belongs to another worker now; this run stops.", self._job.id)

    def _write(self, event: TaskEvent) -> None:
        if event.kind is Kind.STARTED:
            self._open = JobStep.begin(self._job, event.task)
            return
        step = (
            self._open
            if self._open and self._open.name == event.task
            else JobStep.begin(self._job, event.task)
        )
        upids = list(dict.fromkeys(event.result.get("upids") or ()))
        step.end(_STATUS[event.kind], changed=event.changed, diff=event.diff, upids=upids)
        self._open = None
        self._finished += 1
        self._job.record_progress(min(99, 100 * self._finished // self._expected))
