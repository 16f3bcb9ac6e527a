"""Worker tasks: UPIDs, their state, log and end.

A worker is a coroutine that gets its `Worker` to log to. What it raises becomes the exit status. Faults
may make a task fail late or never end.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import unquote

from jotunheim.sandbox.errors import ApiError
from jotunheim.sandbox.state import Task

log = logging.getLogger("jotunheim.sandbox")

ARCHIVED = 20_000
"""Finished tasks that are kept."""


@dataclass
class TaskFault:
    """What is wrong with a task that is about to start."""

    exitstatus: str | None = None
    """The task does its work, then fails with this."""
    hang: bool = False
    """The task does its work and never ends (until it is stopped)."""


@dataclass
class Worker:
    """A task from the inside."""

    task: Task
    fault: TaskFault | None = None
    interrupted: str = "interrupted by signal"
    """The exit status if the task is stopped now; workers set it as they go."""

    def say(self, line: str) -> None:
        """Append a line to the task's log."""
        self.task.log.append(line)


Work = Callable[[Worker], Awaitable[None]]


@dataclass
class Tasks:
    """All tasks of the cluster, the running ones with their coroutines."""

    archive: dict[str, Task] = field(default_factory=dict)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1000))

    def restore(self, tasks: list[Task]) -> None:
        """Take over the tasks of a loaded state. What ran then was cut off."""
        self.archive = {unquote(task.upid): task for task in tasks}
        for task in tasks:
            if task.endtime is None:
                self._end(task, "unexpected status")

    def start(
        self,
        node: str,
        kind: str,
        identifier: str,
        user: str,
        tokenid: str | None,
        work: Work,
        fault: TaskFault | None = None,
    ) -> str:
        """Start a worker. Returns its UPID at once."""
        number = next(self._numbers)
        pid, pstart, now = 1000 + number, (number * 37 + 0x100000) & 0xFFFFFFFF, int(time.time())
        owner = f"{user}!{tokenid}" if tokenid else user
        quoted = identifier.replace("%", "%25").replace(":", "%3A").replace(" ", "%20")
        upid = f"UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{quoted}:{owner}:"
        task = Task(upid, node, pid, pstart, now, kind, identifier, user, tokenid)
        self.archive[unquote(upid)] = task
        self._prune()
        runner = asyncio.get_running_loop().create_task(self._run(Worker(task, fault), work))
        self._running[upid] = runner
        runner.add_done_callback(lambda _: self._running.pop(upid, None))
        return upid

    def find(self, upid: str) -> Task | None:
        """The task of a UPID, in whatever way its id is quoted."""
        return self.archive.get(unquote(upid))

    def stop(self, task: Task) -> None:
        """Interrupt a running task; nothing happens to a finished one."""
        runner = self._running.get(task.upid)
        if runner:
            runner.cancel()

    @property
    def running(self) -> int:
        """How many tasks run now."""
        return len(self._running)

    async def close(self) -> None:
        """Cut off all workers."""
        runners = list(self._running.values())
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)

    async def _run(self, worker: Worker, work: Work) -> None:
        task = worker.task
        try:
            await work(worker)
            if worker.fault and worker.fault.hang:
                await asyncio.get_running_loop().create_future()
            status = (worker.fault and worker.fault.exitstatus) or "OK"
        except ApiError as error:
            status = error.message
        except asyncio.CancelledError:
            status = worker.interrupted
        except Exception:
            log.exception("worker %s broke", task.upid)
            status = "the sandbox's worker broke, see its log"
        self._end(task, status)

    def _end(self, task: Task, status: str) -> None:
        status = " ".join(status.split("\n")).strip()
        good = status == "OK" or status.startswith("WARNINGS")
        task.log.append(f"TASK {status}" if good else f"TASK ERROR: {status}")
        task.exitstatus = status
        task.endtime = int(time.time())

    def _prune(self) -> None:
        while len(self.archive) > ARCHIVED:
            oldest = next(iter(self.archive))
            if self.archive[oldest].endtime is None:
                return
            del self.archive[oldest]
