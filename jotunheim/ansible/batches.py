"""Several jobs in one run of Ansible, each with a host of its own: what a run costs is paid once for all of them.

    job's thread ── run() ┐                  ┌ events, results and failure of its own host
    job's thread ── run() ┼─ one joint run ──┤
    job's thread ── run() ┘                  └ returns when that has ended, whatever the others do

Hosts do not wait for each other. Whoever is to be stopped leaves; the joint run goes on for the others. When it dies as a whole,
each goes on alone: then it is seen whose doing it was.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from jotunheim.ansible import failures, playbooks, runner
from jotunheim.ansible.events import Kind, TaskEvent
from jotunheim.ansible.runner import HostResult, Run, RunResult
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.journal import changing_file, stopping_file

GATHER_SECONDS = 5.0
"""How long those that are ready wait for the next of their batch; who comes after they have begun runs alone."""


class Batch:
    """Jobs that were claimed together: the first run of each is shared.

    Args:
        job_ids: each of them calls `run`, or `leave`.
    """

    def __init__(self, job_ids: Iterable[str]) -> None:
        self._awaited = set(job_ids)
        self._gathered: list[_Member] | None = []
        """Those that are ready; None: they have begun."""
        self._changed = threading.Condition()
        self._runs: list[threading.Thread] = []

    def run(self, wanted: Run) -> RunResult:
        """Run what a job wants for its one host, together with what the others want; see `runner.run`.

        What a job runs after its first run is its alone.
        """
        member = None
        with self._changed:
            if self._came(wanted.hosts[0].job_id) and self._gathered is not None:
                member = _Member(wanted)
                self._gathered.append(member)
                if len(self._gathered) == 1:  # the first one sees to it that they begin
                    while self._awaited and self._changed.wait(GATHER_SECONDS):
                        pass  # another one has come
                    gathered, self._gathered = self._gathered, None
                    self._begin(gathered)
        if member is not None:
            result = member.outcome()
            if result.status != "failed" or result.failure is None:
                return result
        return runner.run(wanted)

    def leave(self, job_id: str) -> None:
        """A job has ended; nobody waits for it any more."""
        with self._changed:
            self._came(job_id)

    def join(self) -> None:
        """Wait until nothing is left of its runs; call it when all of them have come."""
        for thread in self._runs:
            thread.join()

    def _came(self, job_id: str) -> bool:
        """Note that a job has come; False: it had already."""
        if job_id not in self._awaited:
            return False
        self._awaited.remove(job_id)
        self._changed.notify_all()
        return True

    def _begin(self, members: Sequence["_Member"]) -> None:
        """Start a run for those that want the same but for their hosts."""
        alike: dict[Any, list[_Member]] = {}
        for member in members:
            alike.setdefault(_likeness(member.wanted), []).append(member)
        for together in alike.values():
            # Ansible ends with the thread that started it (lifeline.py), and a member's ends with the member.
            thread = threading.Thread(target=_Joint(together).run, name="joint-run", daemon=True)
            self._runs.append(thread)
            thread.start()


def _likeness(wanted: Run) -> tuple[Any, ...]:
    environment = tuple(sorted(wanted.environment.items()))
    return wanted.playbook, wanted.timeout_seconds, wanted.check, wanted.checks_arguments, environment


@dataclass
class _Member:
    """One job's part of a joint run."""

    wanted: Run
    result: HostResult = field(default_factory=HostResult)
    _ended_tasks: int = 0
    _broken: Exception | None = None
    """What its own `on_event` or `is_cancelled` has raised."""
    _deadline: float | None = None
    """Of one that is to be stopped: until when the answer to a request that changes something is waited for."""
    _over: threading.Event = field(default_factory=threading.Event)
    _outcome: RunResult | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has been told how it ended; nothing more reaches it."""
        return self._over.is_set()

    @property
    def is_stopped(self) -> bool:
        """Whether it has ended, or is about to, before its host has."""
        return self._deadline is not None

    @property
    def job_id(self) -> str:
        """Of its host's job."""
        return self.wanted.hosts[0].job_id

    def outcome(self) -> RunResult:
        """How it ended, as soon as it has; raises what its `on_event` or `is_cancelled` has raised."""
        self._over.wait()
        if self._broken is not None:
            raise self._broken
        assert self._outcome is not None
        return self._outcome

    def end(self, status: str, failure: ServerDeploymentError | None = None) -> None:
        """Tell it how it ended, as `RunResult` does."""
        self._outcome = RunResult(status, {self.wanted.hosts[0].name: self.result}, failure)
        self._over.set()

    def take(self, event: TaskEvent) -> None:
        """Give it an event of its host; the one of its last task ends it."""
        if self._broken is not None:
            return
        try:
            runner.collect(self.result, event)
            self.wanted.on_event(event)
        except Exception as error:  # noqa: BLE001 - raised in the job's own thread; the others go on
            self._broken = error
            return
        if self.result.failure is not None:
            self.end("failed")
        elif event.kind is not Kind.STARTED and not event.hidden:
            self._ended_tasks += 1
            if self._ended_tasks == playbooks.step_count(self.wanted.playbook):
                self.end("successful")

    def look(self, joint: Run) -> None:
        """See whether it is to be stopped. It begins no change any more then, and ends when the last one has its answer."""
        if self._deadline is None:
            try:
                if self._broken is None and not self.wanted.is_cancelled():
                    return
            except Exception as error:  # noqa: BLE001 - as above
                self._broken = error
            self._deadline = time.monotonic() + runner.PATIENCE_SECONDS
            with suppress(OSError):  # no room: it ends all the same
                stopping_file(joint.directory, self.job_id).touch()
        if time.monotonic() > self._deadline or not changing_file(joint.directory, self.job_id).exists():
            self.end("canceled", failures.of_run("canceled", None, ()))


class _Joint:
    """One run for several members."""

    def __init__(self, members: Sequence[_Member]) -> None:
        named = Counter(member.wanted.hosts[0].name for member in members)
        self._members: dict[str, _Member] = {}
        hosts = []
        for member in members:
            [host] = member.wanted.hosts
            # Two owners may give their servers the same name; no server's name has a dot.
            name = host.name if named[host.name] == 1 else f"{host.name}.{host.job_id}"
            self._members[name] = member
            hosts.append(replace(host, name=name))
        self._wanted = replace(
            members[0].wanted,
            hosts=hosts,
            shared=True,
            on_event=self._tell,
            is_cancelled=self._is_left,
        )

    def run(self) -> None:
        """Carry it out; whoever is not over by then ends as the run does."""
        status: str = "failed"
        failure: ServerDeploymentError | None = failures.killed()
        try:
            result = runner.run(self._wanted)
            status, failure = result.status, result.failure
        finally:
            for member in self._members.values():
                if not member.is_over:
                    member.end(status, failure)

    def _tell(self, event: TaskEvent) -> None:
        member = self._members[event.host]
        if not member.is_over:
            member.take(event)

    def _is_left(self) -> bool:
        """Whether it would go on only for those that were stopped; when all have ended by themselves, so does it."""
        members = self._members.values()
        for member in members:
            if not member.is_over:
                member.look(self._wanted)
        return all(member.is_over for member in members) and any(member.is_stopped for member in members)
