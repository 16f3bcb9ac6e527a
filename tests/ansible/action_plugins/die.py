"""An action that goes wrong in the way that it is told."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from typing import Any

from ansible.plugins.action import ActionBase

MEGABYTE = 1024 * 1024


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


def _no_more_files() -> dict[str, Any]:
    """As if the disk were full: nothing that Ansible's main process writes fits any more."""
    resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    return {}


def _deaf() -> dict[str, Any]:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)
    return {}


WAYS = {
    "raise": lambda: 1 / 0,
    "exit": lambda: os._exit(1),
    "exit silently": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "be killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill ansible": lambda: (os.kill(os.getppid(), signal.SIGKILL), time.sleep(60)),
    "fill the disk": _no_more_files,
    "be deaf": _deaf,
    "much": lambda: {"stdout": "x" * 50 * MEGABYTE, "stdout_lines": ["y" * 100] * (MEGABYTE // 2)},
    "much and fail": lambda: {"failed": True, "stdout": "x" * 50 * MEGABYTE, "msg": "too much " * MEGABYTE},
    "strange": lambda: {
        "nul": "a\0b",
        "surrogate": "a\udcffb",
        "bytes": b"a\xffb",
        "key\0": 1,
        "infinite": float("inf"),
        "huge": 10**5000,
    },
    "nested": lambda: _nested(100),
    "nested too deep": lambda: _nested(400),
    "strange failure": lambda: {"failed": True, "msg": "no\0 \udcff good"},
    "traceback": lambda: {
        "failed": True,
        "msg": 'It broke.\nTraceback (most recent call last):\n  File "x.py", line 1\nValueError: seven\n',
    },
    "cut a secret": lambda: {"stdout": "x" * 32_700 + "hunter2-hunter2" * 10},
}


class ActionModule(ActionBase):
    """Dies."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go wrong."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return {**result, **(WAYS[self._task.args["how"]]() or {})}
