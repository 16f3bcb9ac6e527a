"""Finds and ends what a run left running (Linux; elsewhere nothing is found).

Whatever Ansible starts inherits the run's environment, which names the run's own file. So a command that was started by
a module is found, also when all of Ansible was killed and the command ignores every signal that can be ignored.
"""

import logging
import os
import signal
import time
from pathlib import Path

_PROC = Path("/proc")
_TRIES = 50
_PAUSE_SECONDS = 0.02

log = logging.getLogger(__name__)


def end_all(variable: str, value: str) -> None:
    """Kill all processes of ours that were started with this environment variable, and wait until they are gone."""
    wanted = f"{variable}={value}".encode()
    for _ in range(_TRIES):
        if not [pid for pid in _pids() if _kill(pid, wanted)]:
            return
        time.sleep(_PAUSE_SECONDS)
    log.warning("Processes of the run %s do not end.", value)


def _pids() -> list[int]:
    try:
        return [int(entry.name) for entry in _PROC.glob("[0-9]*") if int(entry.name) != os.getpid()]
    except OSError:
        return []


def _kill(pid: int, wanted: bytes) -> bool:
    """Kill a process if it has this in its environment; whether it had."""
    try:
        if wanted not in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
            return False
        descriptor = os.pidfd_open(pid)
    except OSError:  # it ended, or is somebody else's
        return False
    try:
        # Once more, now that the pid cannot become another process's.
        if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return True
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return False
