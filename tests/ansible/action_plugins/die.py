"""An action that goes wrong in the way that it is told."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

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


def _surroundings() -> dict[str, Any]:
    """What Ansible's main process was given, and how it is configured."""
    main = Path(f"/proc/{os.getppid()}")
    fields = (main / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (main / "status").read_text().splitlines() if ":" in line)
    return {
        "parent": int(fields[1]),
        "leads its session and group": {int(fields[2]), int(fields[3])} == {os.getppid()},
        "has a terminal": int(fields[4]) != 0,
        "umask": status["Umask"].strip(),
        "ignored signals": status["SigIgn"].strip(),
        "blocked signals": status["SigBlk"].strip(),
        "descriptors": sorted(
            str(entry.readlink()).split(":")[0].rstrip("0123456789") for entry in (main / "fd").iterdir()
        ),
        "directory": str((main / "cwd").readlink()),
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "settings": {
            name: sorted(map(str, value)) if isinstance(value, frozenset | set) else str(value)
            for name, value in vars(constants).items()
            if name.isupper()
        },
        "encoding": sys.stdout.encoding if sys.stdout else None,
        "options": {name: str(value) for name, value in context.CLIARGS.items()},
        "warnings": sorted(Display()._warns),
        "random": random.random(),
    }


WAYS = {
    "tell": _surroundings,
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
