"""The worker: claims jobs, carries them out, keeps their leases, and finds those that were lost.

wake-up call or sweep → whose turn it is → claim (lease) → run, renewing the lease → outcome: succeeded, failed, put off
for another attempt, cancelled, or handed over when the worker has to go

Jobs of one type are claimed together and share a run of Ansible (ansible/batches.py). All else is each one's own: its
thread, its lease, its outcome.
"""

import logging
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.cancel import TooLateError
from jotunheim.ansible import runner
from jotunheim.ansible.batches import Batch
from jotunheim.ansible.runner import Run, RunResult
from jotunheim.data.job import JobError
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.repository import LeaseLostError, StoreUnavailableError
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs import retries
from jotunheim.jobs.kind import JobKind
from jotunheim.jobs.leases import LeaseKeeper
from jotunheim.jobs.queue import Queue
from jotunheim.jobs.webhook.deliverer import Deliverer
from jotunheim.repositories.peewee import database, turns
from jotunheim.repositories.peewee.database import LOST, transaction
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.turns import Budgets
from jotunheim.services.audit import reading
from jotunheim.services.backups import due
from jotunheim.services.nodes import scans, sync
from jotunheim.services.servers import delete, drift
from jotunheim.services.traffic import enforcement, metering
from jotunheim.services.webhooks import outgoing
from jotunheim.settings import Settings

# Queue polling: quick after work, and rare enough to be idle when idle.
POLL_FIRST_SECONDS = 0.05
POLL_LAST_SECONDS = 0.25
LOOK_SECONDS = 0.5
"""How soon a run learns that its job shall be cancelled."""
AT_STORE = 4
"""How many jobs of batches use the database at once: each that does has a connection."""
SWEEPS_A_QUOTA = 3
"""How often workers look for lost jobs until they look for what quota wants."""
SWEEPS_A_PRUNING = 20
"""How often workers look for lost jobs until they look for what is too old."""

log = logging.getLogger(__name__)


class Worker:
    """One worker process."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        queue: Queue,
        kinds: Mapping[str, JobKind],
        run_environment: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        self._queue = queue
        self._kinds = kinds
        self._run_environment = run_environment
        self._leases = LeaseKeeper(
            f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}", settings.lease_seconds
        )
        self._budgets = Budgets(
            running=settings.max_running_jobs or None,
            storage_clones=settings.max_clones_per_storage or None,
            worker_slots=settings.worker_concurrency,
            node_backups=settings.max_backups_per_node or None,
            batch=settings.batch_jobs,
        )
        self._at_store = threading.BoundedSemaphore(AT_STORE)
        self._stopping = threading.Event()
        self._deliverer = Deliverer(settings, keyring, self._leases.owner, self._stopping)
        self._draining: Callable[[], bool] = self._stopping.is_set

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; then claim nothing more, and give runs `drain_seconds` to finish."""
        self._queue.on_wake(self.work)
        consumer = self._queue.huey.create_consumer(
            workers=self._settings.worker_concurrency,
            periodic=False,
            initial_delay=POLL_FIRST_SECONDS,
            max_delay=POLL_LAST_SECONDS,
            shutdown_timeout=self._settings.drain_seconds,
            graceful_signal="TERM",
        )
        threads = [
            threading.Thread(target=self._repeat, args=(period, action), daemon=True)
            for period, action in (
                (self._settings.lease_seconds / 3, self._leases.renew),
                (LOOK_SECONDS, self._leases.look),
                (self._settings.sweep_seconds, self.sweep),
                (self._settings.sweep_seconds, self.sweep_expired),
                (self._settings.sweep_seconds, self.sweep_backups),
                (SWEEPS_A_QUOTA * self._settings.sweep_seconds, self.sweep_quota),
                (min(self._settings.sync_seconds, self._settings.sweep_seconds), self.sweep_nodes),
                (SWEEPS_A_PRUNING * self._settings.sweep_seconds, self.sweep_orphans),
                (self._settings.sweep_seconds, self.sweep_drift),
                (SWEEPS_A_PRUNING * self._settings.sweep_seconds, self.prune),
            )
        ]
        deliverer = threading.Thread(target=self._deliverer.run, daemon=True)
        threads.append(deliverer)
        self._draining = consumer.stop_flag.is_set
        for thread in threads:
            thread.start()
        log.info("Worker ready, %s runs at once.", self._settings.worker_concurrency)
        consumer.run()
        self._stopping.set()
        # Runs that are still going hand their jobs over: each ends at its next poll.
        self._leases.stop_all()
        for _, process in consumer.worker_threads:
            process.join(10)
        deliverer.join(self._settings.webhook_timeout_seconds)
        log.info("Worker ended.")

    def sweep(self) -> None:
        """Announce jobs that nobody was told about: lost by their worker, due by now, or their announcement was lost.

        While wake-up calls are in the queue, somebody looks anyway. One call a slot is enough, since each looks until
        nothing is left to do. A job that is announced twice is claimed once.
        """
        if self._queue.is_empty():
            for job_id in turns.some(self._settings.worker_concurrency):
                self._queue.wake(job_id)

    def sweep_expired(self) -> None:
        """Queue the deletion of servers whose time is over."""
        for job in delete.delete_expired():
            self._queue.wake(job.id)

    def sweep_backups(self) -> None:
        """Queue the backups that are due, and the removal of those that need not be kept any more."""
        for job in (*due.back_up_what_is_due(self._settings), *due.prune_what_is_due()):
            self._queue.wake(job.id)

    def sweep_quota(self) -> None:
        """Queue what is to be done with servers that have used up their traffic, or have got more."""
        for job in enforcement.enforce(self._settings):
            self._queue.wake(job.id)

    def sweep_nodes(self) -> None:
        """Ask the nodes whose time has come what they have; stop suspended servers that run there."""
        for job in sync.sweep(self._keyring, self._settings):
            self._queue.wake(job.id)

    def sweep_orphans(self) -> None:
        """Queue a look for orphans on the nodes that had none for long."""
        for job in scans.sweep(self._settings):
            self._queue.wake(job.id)

    def sweep_drift(self) -> None:
        """Queue the looks for drift that are due."""
        for job in drift.sweep(self._settings):
            self._queue.wake(job.id)

    def prune(self) -> None:
        """Delete entries of the audit log and sums of traffic that are too old, and what webhooks were told long ago."""
        reading.prune(self._settings.audit_days)
        metering.prune(self._settings)
        outgoing.prune(self._settings)

    def work(self) -> None:
        """Carry out what is to be had, one batch after the other, until there is nothing."""
        while not self._draining():
            jobs = self._leases.take(self._budgets)
            match jobs:
                case []:
                    return
                case [job]:
                    self._work_on(job, runner.run, nullcontext())
                case _:
                    self._work_on_batch(jobs)

    def _work_on_batch(self, jobs: Sequence[Job]) -> None:
        log.info("%s jobs (%s) are carried out together.", len(jobs), jobs[0].type)
        batch = Batch(str(job.id) for job in jobs)
        threads = [threading.Thread(target=self._work_in, args=(batch, job)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        batch.join()

    def _work_in(self, batch: Batch, job: Job) -> None:
        """Carry out one job of a batch, in a thread of its own. While it waits for its run, it holds nothing that others need."""

        def run(wanted: Run) -> RunResult:
            database.let_go()
            self._at_store.release()
            try:
                return batch.run(wanted)
            finally:
                self._at_store.acquire()

        try:
            self._work_on(job, run, self._at_store)
        finally:
            batch.leave(str(job.id))
            database.let_go()

    def _work_on(
        self, job: Job, run: Callable[[Run], RunResult], turn: AbstractContextManager[object]
    ) -> None:
        """Carry out one job, whose lease is renewed from now on.

        Args:
            run: see `ActionContext`.
            turn: what it waits for until it begins.
        """
        count = partial(metering.record_one, settings=self._settings)
        context = ActionContext(self._settings, self._keyring, self._run_environment, run=run, count=count)
        with self._leases.keep(job, context.stop, context.cancel), turn:
            self._remove_leftovers(job)
            self._carry_out(job, context)

    def _carry_out(self, job: Job, context: ActionContext) -> None:
        """Run a claimed job to its end, or take it back, and record what became of it; raises nothing."""
        kind = self._kinds.get(job.type)
        log.info(
            "Job %s (%s) begins, attempt %s, request_id=%s.", job.id, job.type, job.attempt, job.request_id
        )
        try:
            _assert_runnable(job, kind)
            assert kind is not None
            if not job.cancel_requested:
                self._run(job, context, kind)
            if job.cancel_requested:
                self._cancel(job, context, kind)
        except LeaseLostError as error:
            log.warning("%s", error.message)
        except JotunheimError as error:
            self._give_up(job, context, kind, error)
        except LOST:
            log.warning("Job %s cannot go on without the database.", job.id, exc_info=True)
            away = StoreUnavailableError("The database could not be used.", hint="See the worker's log.")
            self._give_up(job, context, kind, away)
        except Exception:
            log.exception("Job %s broke.", job.id)
            unknown = JotunheimError(
                "Something went wrong; the worker's log knows more.", hint=f"Look for {job.id}."
            )
            self._give_up(job, context, kind, unknown)
        else:
            log.info("Job %s %s.", job.id, job.status)

    def _run(self, job: Job, context: ActionContext, kind: JobKind) -> None:
        """Do the work. When somebody wants it cancelled meanwhile, the job says so afterwards."""
        if not job.check_only:
            with transaction():
                job.assert_lease()
                kind.start(job)
        try:
            kind.run(job, context)
        except LeaseLostError:
            raise
        except JotunheimError as error:
            if context.stop.is_set() or not context.cancel.is_set():
                raise
            log.info("Job %s is interrupted: %s", job.id, error.message)
            context.cancel.clear()
            job.reload_cancel()
            if not job.cancel_requested:  # it was an earlier wish, which came too late
                self._run(job, context, kind)

    def _cancel(self, job: Job, context: ActionContext, kind: JobKind) -> None:
        """Take back or keep what the job has made; one that cannot be taken back any more goes to its end."""
        if job.check_only:
            with transaction():
                job.mark_cancelled()
            return
        try:
            # Not to be interrupted by the wish that it fulfils.
            kind.cancel(job, replace(context, cancel=threading.Event()))
        except TooLateError as error:
            log.info("Job %s goes on: %s", job.id, error.message)
            with transaction():
                job.refuse_cancel()
            context.cancel.clear()
            self._run(job, context, kind)

    def _give_up(self, job: Job, context: ActionContext, kind: JobKind | None, error: JotunheimError) -> None:
        told = JobError(code=error.code, message=error.message, retryable=error.retryable, hint=error.hint)
        pause = retries.pause(error, job.attempt, job.max_attempts, self._settings.retry_base_seconds)
        try:
            if pause is None and retries.may_have_moved(error, job.attempt, job.max_attempts):
                pause = 0 if sync.relocate(job, self._keyring, self._settings) else None
            with transaction():
                if context.stop.is_set():
                    # Not when the worker goes. But one whose lease runs out each time must not go on for ever.
                    job.hand_over(counted=not self._draining())
                    log.info("Job %s is handed over.", job.id)
                    return
                if pause is not None:
                    job.put_off(told, pause)
                    log.warning(
                        "Job %s is tried again in %.1f s: %s (%s)", job.id, pause, error.message, error.code
                    )
                    return
                job.mark_failed(told)
                if kind is not None and not job.check_only:
                    _record_failure(kind, job, error)
            log.warning("Job %s failed: %s (%s)", job.id, error.message, error.code)
        except LeaseLostError as lost:
            log.warning("%s", lost.message)
        except LOST:
            log.warning("Job %s is left to whoever finds its lease expired.", job.id, exc_info=True)

    def _remove_leftovers(self, job: Job) -> None:
        """Remove run directories that earlier attempts of this job left when their workers were killed."""
        for directory in self._settings.runs_dir.glob(f"{job.id}.*"):
            # What cannot be removed is in nobody's way: each run has a directory of its own.
            shutil.rmtree(directory, ignore_errors=True)

    def _repeat(self, period: float, action: object) -> None:
        assert callable(action)
        while not self._stopping.wait(period):
            try:
                action()
            except Exception:
                log.exception("A periodic duty of the worker failed; it is tried again.")


def _record_failure(kind: JobKind, job: Job, error: JotunheimError) -> None:
    """Record what a failed job leaves. Should that be impossible, the job fails nevertheless.

    A job that can neither succeed nor fail would lock its server for ever. What may be passing, such as a store
    that is away, is left to the next attempt while there are any.
    """
    try:
        with transaction():
            kind.fail(job, error)
    except Exception as broken:
        if not isinstance(broken, JotunheimError) and job.attempt <= job.max_attempts:
            raise
        log.exception("What the failure of job %s left could not be recorded.", job.id)


def _assert_runnable(job: Job, kind: JobKind | None) -> None:
    if kind is None:
        raise JotunheimError(f"This version knows no jobs of type {job.type}.", hint="Upgrade the worker.")
    if job.attempt > job.max_attempts:
        raise ServerDeploymentError(
            "worker_lost",
            f"Workers ended {job.max_attempts} times in the middle of this job.",
            retryable=True,
            hint="See why in the workers' logs, then retry the job: it continues from where it stood.",
        )
