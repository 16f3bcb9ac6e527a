"""Starting and ending the processes that tests need."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.support.forking import Forked, fork

Found = TypeVar("Found")
Process = subprocess.Popen[str] | Forked
JOTUNHEIM = str(Path(sys.executable).with_name("jotunheim"))
_DECIDES_WHAT_IS_IMPORTED = ("PYTHON", "JOTUNHEIM_DATABASE_URL", "JOTUNHEIM_QUEUE_URL")


def free_port() -> int:
    """A TCP port that nobody listens on right now, and that no other process of the tests takes meanwhile.

    Each process has a range of its own, below the one from which the kernel takes ports for connections.
    """
    first = 12_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.randrange(first, first + 1_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def start(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process in a group of its own; it writes standard error to a file."""
    with log.open("a") as errors:
        return subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def start_jotunheim(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Start a command of `jotunheim` likewise; forked, which is far quicker, unless it is told what to import."""
    if any(name.startswith(_DECIDES_WHAT_IS_IMPORTED) for name in environment):
        return start([JOTUNHEIM, *arguments], log, environment)
    return fork(arguments, log, {**os.environ, **environment})


def end(process: Process, log: Path, *, seconds: float = 20) -> None:
    """End a process with SIGTERM; one that does not end is killed and fails the test."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError(f"{process.args} did not end on SIGTERM:\n{log.read_text()[-3000:]}") from None
    finally:
        if process.stdout:
            process.stdout.close()


def wait_for(
    probe: Callable[[], Found | None], what: str, *, seconds: float = 20, pause: float = 0.02
) -> Found:
    """The first answer of a probe that is not None and not False.

    The longer it takes the less often it is asked: each question costs time that others need.

    Args:
        seconds: the longest that it may take.
        pause: the shortest between two questions; longer where none of the first answers can be the one.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        found = probe()
        if found:
            return found
        time.sleep(min(0.2, max(pause, waited / 8)))
    raise AssertionError(f"waited {seconds} s for {what}")
