"""What an action plugin tells the store while it works: the task ids it got, and whether it may go on.

The service hands the file `JOTUNHEIM_RUN_FILE` to a run: which inventory host belongs to which job, under
which fencing number. A run by hand has no such file and no journal.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jotunheim import settings as settings_module
from jotunheim.data.job import JobStatus
from jotunheim.exceptions.repository import LeaseLostError
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.jobs import Job, JobEvent
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.pve_tasks import PveTask

NOTED = "work.noted"
RUN_FILE_VARIABLE = "JOTUNHEIM_RUN_FILE"
CHANGING = "changing-*"
"""Files beside the run file, see `changing_file`."""
STOPPING = "stopping"
"""A file beside the run file: no request that changes something begins any more, of any job."""
_SECONDS_UNTIL_STOPPED = 10


def changing_file(directory: Path, job_id: object) -> Path:
    """The file in a run's directory that is there while a request of a job that changes something is under way."""
    return directory / CHANGING.replace("*", str(job_id))


def stopping_file(directory: Path, job_id: object) -> Path:
    """The file that says that no such request of a job begins any more. Both sides write theirs before they look for the other's."""
    return directory / f"{STOPPING}-{job_id}"


class Journal:
    """The journal of one job, for the worker that holds its lease.

    Args:
        directory: of the run.
    """

    def __init__(self, job_id: uuid.UUID, fence: int, directory: Path) -> None:
        self._job_id = job_id
        self._fence = fence
        self._stopping = (directory / STOPPING, stopping_file(directory, job_id))
        self._changing = changing_file(directory, job_id)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """See `TaskJournal`. Raises LeaseLostError unless the job still belongs to the worker that started this run."""
        with suppress(OSError):  # no room: then the run can be stopped in the middle of the request
            self._changing.touch()
        try:
            if not any(file.exists() for file in self._stopping):
                self._job()
                yield
                return
        finally:
            with suppress(OSError):
                self._changing.unlink()
        time.sleep(_SECONDS_UNTIL_STOPPED)  # the end comes within one
        raise LeaseLostError("The run was to be stopped.")

    @database.usable()
    def _job(self) -> Job:
        job = Job.get_or_none(
            (Job.id == self._job_id) & (Job.fence == self._fence) & (Job.status == JobStatus.RUNNING)
        )
        if job is None:
            raise LeaseLostError(f"Job {self._job_id} belongs to another worker now.")
        return job

    def remember(self, operation: str, upid: str) -> None:
        """Save a task id; call it before the task is waited for."""

        def save() -> None:
            PveTask.insert(job=self._job_id, operation=operation, upid=upid).on_conflict_ignore().execute()
            JobEvent.add(self._job_id, "task.started", {"operation": operation, "upid": upid})

        self._write(save)

    @database.usable()
    def recall(self, operation: str) -> str | None:
        """The last task id that this job saved for an operation, also in an earlier attempt."""
        task = (
            PveTask.select()
            .where((PveTask.job == self._job_id) & (PveTask.operation == operation))
            .order_by(PveTask.id.desc())
            .first()
        )
        return task.upid if task else None

    @database.usable()
    def plan_made(self) -> Plan | None:
        """The plan that this job, a preview, makes, until this attempt has seen what that rests on."""
        plan = Plan.of_preview(self._job_id)
        return None if plan is None or plan.seen_fence == self._fence else plan

    @database.usable()
    def plan_applied(self) -> Plan | None:
        """The plan that this job applies, unless it is cancelled: what takes it back is held to nothing."""
        return None if self._job().cancel_requested else Plan.applied_in(self._job_id)

    def see(self, plan: Plan, state: Mapping[str, Any]) -> None:
        """Keep what the plan rests on."""
        self._write(lambda: plan.see(state, self._fence))

    def begin(self, plan: Plan) -> None:
        """Note that the plan begins to be applied; call it before the first request that changes something."""
        self._write(plan.begin)

    def note(self, about: str, things: Sequence[str]) -> None:
        """Store what is about to be done; call it before it is done."""
        self._write(lambda: JobEvent.add(self._job_id, NOTED, {"about": about, "things": list(things)}))

    @database.usable()
    def noted(self, about: str) -> list[tuple[float, list[str]]]:
        """When this job noted what, in seconds since 1970, in earlier attempts too, the oldest first."""
        return [
            (event.at.timestamp(), event.data["things"])
            for event in JobEvent.of_type(self._job_id, NOTED)
            if event.data["about"] == about
        ]

    @database.usable()
    def _write(self, change: Callable[[], object]) -> None:
        def write() -> None:
            self._job().assert_lease()  # holds the row, so that events are committed in their order
            change()

        database.transact(write)


def open_journal(inventory_hostname: str) -> Journal | None:
    """The journal of the job that this host of the inventory stands for; None when run by hand."""
    run_file = os.environ.get(RUN_FILE_VARIABLE)
    if not run_file:
        return None
    entry = json.loads(Path(run_file).read_text())[inventory_hostname]
    database.connect(settings_module.load(), is_there=True)
    return Journal(uuid.UUID(entry["job_id"]), entry["fence"], Path(run_file).parent)
