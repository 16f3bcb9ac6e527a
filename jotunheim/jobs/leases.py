"""Keeps the leases of this worker's running jobs, and stops a run whose lease was lost or whose job is cancelled."""

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from jotunheim.repositories.peewee import turns
from jotunheim.repositories.peewee.jobs import Job

log = logging.getLogger(__name__)


@dataclass
class _Held:
    fence: int
    stop: threading.Event
    cancel: threading.Event


@dataclass
class LeaseKeeper:
    """The leases that this worker holds; `renew` must be called at a third of `lease_seconds`."""

    owner: str
    lease_seconds: float
    _held: dict[uuid.UUID, _Held] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, budgets: turns.Budgets) -> list[Job]:
        """Take the job whose turn it is, and those that can be carried out with it, with their leases; none: there is none."""
        with self._lock:
            held = list(self._held)
        return turns.take(self.owner, self.lease_seconds, budgets, held)

    @contextmanager
    def keep(self, job: Job, stop: threading.Event, cancel: threading.Event) -> Iterator[None]:
        """Renew a job's lease for the time of a block.

        Args:
            stop: set when the lease is lost, or when the worker has to go.
            cancel: set when somebody wants the job cancelled.
        """
        with self._lock:
            self._held[job.id] = _Held(job.fence, stop, cancel)
        try:
            yield
        finally:
            with self._lock:
                del self._held[job.id]

    def look(self) -> None:
        """Stop the runs of jobs that shall be cancelled, and of those whose leases have expired.

        Somebody takes an expired one over when its run has ended; two runs of one job in one worker must not be.
        """
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        for job_id in Job.cancelled_among(held):
            held[job_id].cancel.set()
        for job_id in Job.abandoned_among(held):
            held[job_id].stop.set()

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
