"""Keeps the API and a worker running as children of one process, for `jotunheim up`.

The children have process groups of their own, so that Ctrl-C in a terminal reaches only the supervisor,
which tells them once; and they end when the supervisor is killed.
"""

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from jotunheim.bootstrap.logs import configure_logging
from jotunheim.cli.errors import ExitCode
from jotunheim.lifeline import die_with_parent
from jotunheim.settings import Settings

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WATCHED = {*STOP_SIGNALS, signal.SIGCHLD}
FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 30.0
# A worker that lived this long was sound; its next start is not held back.
SOUND_SECONDS = 60.0
# On top of what a child may take to end in order.
KILL_MARGIN_SECONDS = 15.0

log = logging.getLogger(__name__)


def start(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `jotunheim` with these arguments as a child that does not outlive this process.

    Args:
        options: for subprocess.Popen.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "jotunheim.cli", *arguments],
        process_group=0,
        preexec_fn=_begin_life,
        **options,
    )


def _begin_life() -> None:
    die_with_parent()
    # The supervisor waits for blocked signals, and children inherit the mask.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Supervisor:
    """One API process and one worker process.

    Args:
        worker_arguments: for `jotunheim worker`.
        report: called with what the API printed about itself, its URL or why it cannot start, and the pids.
    """

    def __init__(
        self,
        settings: Settings,
        worker_arguments: list[str],
        report: Callable[[Mapping[str, Any]], None] | None,
    ) -> None:
        self._settings = settings
        self._worker_arguments = worker_arguments
        self._report = report
        self._pause = FIRST_PAUSE_SECONDS
        self._worker_began = 0.0

    def run(self) -> int:
        """Run until told to stop or until the API ends.

        Returns:
            The exit status: 0 after SIGTERM, 130 after SIGINT, 1 when the API could not start or ended.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            return self._run()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)

    def _run(self) -> int:
        api = start(["serve", "--json"], stdout=subprocess.PIPE)
        assert api.stdout is not None
        configure_logging(self._settings)
        line = api.stdout.readline()
        told = json.loads(line) if line else {}
        if "url" not in told:  # it has said why
            api.wait()
            if self._report and told:
                self._report(told)
            return ExitCode.FAILED
        worker = self._start_worker()
        if self._report:
            self._report({**told, "api_pid": api.pid, "worker_pid": worker.pid})
        return self._supervise(api, worker)

    def _supervise(self, api: subprocess.Popen[bytes], first_worker: subprocess.Popen[bytes]) -> int:
        worker: subprocess.Popen[bytes] | None = first_worker
        restart_at: float | None = None
        while True:
            received = _wait(restart_at)
            if received in STOP_SIGNALS:
                self._stop([child for child in (api, worker) if child])
                return ExitCode.INTERRUPTED if received == signal.SIGINT else 0
            if api.poll() is not None:
                log.error("The API ended with status %s.", api.returncode)
                self._stop([worker] if worker else [])
                return ExitCode.FAILED
            if worker and worker.poll() is not None:
                pause = self._next_pause()
                log.error(
                    "The worker ended with status %s; the next one starts in %.0f s.",
                    worker.returncode,
                    pause,
                )
                worker = None
                restart_at = time.monotonic() + pause
            if restart_at is not None and time.monotonic() >= restart_at:
                restart_at = None
                worker = self._start_worker()

    def _start_worker(self) -> subprocess.Popen[bytes]:
        self._worker_began = time.monotonic()
        return start(["worker", *self._worker_arguments], stdout=subprocess.DEVNULL)

    def _next_pause(self) -> float:
        if time.monotonic() - self._worker_began > SOUND_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        pause = self._pause
        self._pause = min(2 * pause, LAST_PAUSE_SECONDS)
        return pause

    def _stop(self, children: list[subprocess.Popen[bytes]]) -> None:
        for child in children:
            child.terminate()
        deadline = time.monotonic() + self._settings.drain_seconds + KILL_MARGIN_SECONDS
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("Process %s did not end in time and is killed.", child.pid)
                child.kill()
                child.wait()


def _wait(until: float | None) -> int | None:
    """Wait for a signal, at most until a moment; returns the signal's number."""
    if until is None:
        return signal.sigwaitinfo(_WATCHED).si_signo
    received = signal.sigtimedwait(_WATCHED, max(0.0, until - time.monotonic()))
    return received.si_signo if received else None
