"""Keeps the leases of this worker's running jobs, and stops a run whose lease was lost."""

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from jotunheim.repositories.peewee.database import transaction
from jotunheim.repositories.peewee.jobs import Job

log = logging.getLogger(__name__)


@dataclass
class _Held:
    fence: int
    stop: threading.Event


@dataclass
class LeaseKeeper:
    """The leases that this worker holds; `renew` must be called at a third of `lease_seconds`."""

    owner: str
    lease_seconds: float
    _held: dict[uuid.UUID, _Held] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, job_id: uuid.UUID) -> Job | None:
        """Take a job, if nobody else has it."""
        with transaction():
            return Job.claim(job_id, self.owner, self.lease_seconds)

    def stop_if_held(self, job_id: uuid.UUID) -> bool:
        """Whether a run of this job goes on here. It is stopped when its lease has expired.

        Somebody takes the job over when it has ended; two runs of one job in one worker must not be. A job that was
        only announced twice runs on.
        """
        with self._lock:
            held = self._held.get(job_id)
        if held is None:
            return False
        if Job.is_abandoned(job_id):
            held.stop.set()
        return True

    @contextmanager
    def keep(self, job: Job, stop: threading.Event) -> Iterator[None]:
        """Renew a job's lease for the time of a block; `stop` is set when it is lost."""
        with self._lock:
            self._held[job.id] = _Held(job.fence, stop)
        try:
            yield
        finally:
            with self._lock:
                del self._held[job.id]

    def renew(self) -> None:
        """Extend all leases, and stop the runs of those that are lost."""
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        lost = Job.renew({job_id: entry.fence for job_id, entry in held.items()}, self.lease_seconds)
        with self._lock:
            # A job that ended meanwhile has given its lease back.
            lost = {job_id for job_id in lost if self._held.get(job_id) is held[job_id]}
        for job_id in lost:
            log.warning("The lease of job %s is lost.", job_id)
            held[job_id].stop.set()

    def stop_all(self) -> None:
        """Stop all runs: the worker has to go."""
        with self._lock:
            for entry in self._held.values():
                entry.stop.set()
