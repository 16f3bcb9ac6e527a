"""Ansible that is loaded already: a process that each worker keeps, and that forks a child for every run.

    worker ── ansible-runner ── launcher (tiny) ──unix socket── parent (loaded once) ── child: the run

The launcher hands arguments, environment, directory and its descriptors over, relays signals and ends as the child
ends. The child has nothing of another run: the parent never runs a playbook itself. It dies with its launcher, which
dies with the worker. A run that wants another configuration of Ansible than the parent was loaded with is run plainly,
and a parent that died, or whose source files changed, is replaced.
"""

import contextlib
import json
import logging
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 30
PAUSE_SECONDS = 60
"""Between tries to load Ansible, when it cannot be had."""
# Where a run's own files are; a child sets these, everything else that Ansible reads must be as the parent has it.
PER_RUN = frozenset(
    {"ANSIBLE_CONFIG", "ANSIBLE_HOME", "ANSIBLE_CACHE_PLUGIN_CONNECTION"},
)
_READ_WHEN_LOADED = ("ANSIBLE_", "_ANSIBLE_", "ORIGINAL_", "PYTHON", "LC_", "LANG")
_LAUNCHER = Path(__file__).with_name("launcher.py")

log = logging.getLogger(__name__)


@dataclass
class _Parent:
    """A running parent, and the files whose change makes it stale."""

    process: subprocess.Popen[bytes]
    directory: Path
    files: Mapping[str, int]

    def is_usable(self) -> bool:
        return self.process.poll() is None and all(_changed(file) == at for file, at in self.files.items())

    def retire(self) -> None:
        """Have it end when its last run has ended."""
        self.process.terminate()


@dataclass
class WarmAnsible:
    """The warm Ansible of one worker process.

    Args:
        environment: what runs have in common: everything that Ansible reads when it is loaded.
        drivers: those of `jotunheim.drivers` that runs need.
    """

    environment: Mapping[str, str]
    drivers: Sequence[str] = ()
    _parent: _Parent | None = None
    _retired: list[_Parent] = field(default_factory=list)
    _not_before: float = 0.0
    _closed: bool = False
    _settled: threading.Event = field(default_factory=threading.Event)
    """No parent is being loaded."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._settled.set()

    def start(self) -> None:
        """Begin to load a parent. That it cannot be had is logged."""
        with self._lock:
            self._start()

    def command(self, environment: Mapping[str, str]) -> list[str] | None:
        """What starts a run with this environment in a loaded Ansible; its arguments follow. None: do it plainly.

        Waits for a parent that is being loaded: it takes as long as to load Ansible for the run alone.
        """
        if _read_when_loaded(environment) != _read_when_loaded(self.environment):
            return None
        with self._lock:
            self._replace()
        self._settled.wait(START_SECONDS)
        with self._lock:
            if self._parent is None:
                return None
            socket = str(self._parent.directory / "socket")
        # Isolated and without `site`: it needs nothing but the standard library.
        return [sys.executable, "-I", "-S", str(_LAUNCHER), socket, str(os.getpid())]

    def pid(self) -> int | None:
        """Of the parent, when there is one."""
        with self._lock:
            return self._parent.process.pid if self._parent else None

    def close(self) -> None:
        """End the parent, and wait for it."""
        with self._lock:
            self._closed = True
        self._settled.wait(START_SECONDS)
        with self._lock:
            parents = [*self._retired, *([self._parent] if self._parent else [])]
            self._parent = None
        for parent in parents:
            parent.retire()
            parent.process.wait()

    def _replace(self) -> None:
        """Load a parent if there is none that can be used."""
        self._retired = [parent for parent in self._retired if parent.process.poll() is None]
        if self._parent is not None and not self._parent.is_usable():
            if self._parent.process.poll() is not None:
                log.warning(
                    "The loaded Ansible ended (%s); it is loaded again.", self._parent.process.returncode
                )
                # It removes its directory itself, unless it was killed.
                shutil.rmtree(self._parent.directory, ignore_errors=True)
            else:
                log.info("Files of Ansible or Jotunheim changed; they are loaded again.")
                self._parent.retire()
                self._retired.append(self._parent)
            self._parent = None
        if self._parent is None:
            self._start()

    def _start(self) -> None:
        if self._settled.is_set() and not self._closed and time.monotonic() >= self._not_before:
            self._settled.clear()
            # A process ends with the thread that started it (lifeline.py), so this one stays.
            threading.Thread(target=self._load_and_stay, name="warm-ansible", daemon=True).start()

    def _load_and_stay(self) -> None:
        parent = None
        try:
            parent = _load(self.environment, self.drivers)
        except (OSError, ValueError) as error:
            log.warning("Ansible cannot be kept loaded; each run loads it: %s", error)
        with self._lock:
            self._parent = parent
            self._not_before = time.monotonic() + (0 if parent else PAUSE_SECONDS)
            if parent and self._closed:
                parent.retire()
        self._settled.set()
        if parent:
            parent.process.wait()


def _load(environment: Mapping[str, str], drivers: Sequence[str]) -> _Parent:
    """Start a parent and wait until it is ready.

    Raises:
        OSError: it cannot be started.
        ValueError: it ended, or took too long.
    """
    # Not in the state directory: the path of a socket may have 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="jotunheim-ansible-"))
    config = directory / "ansible.cfg"
    config.touch()
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "jotunheim.ansible.warm.parent",
            str(directory),
            str(os.getpid()),
            *drivers,
        ],
        env={**environment, "ANSIBLE_CONFIG": str(config), "ANSIBLE_HOME": str(directory / "home")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=directory,
    )
    try:
        files: list[str] = json.loads(_first_line(process))
    except ValueError:
        process.kill()
        process.wait()
        # It may have got as far as removing it; why it could not be started is what matters.
        shutil.rmtree(directory, ignore_errors=True)
        raise ValueError("it did not become ready") from None
    return _Parent(process, directory, {file: _changed(file) for file in files})


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    with process.stdout as pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return pipe.readline() if selector.select(START_SECONDS) else b""


def _changed(file: str) -> int:
    """When a file was changed, in nanoseconds; 0: it is gone."""
    with contextlib.suppress(OSError):
        return os.stat(file).st_mtime_ns  # noqa: PTH116 - of a thousand files before each run
    return 0


def _read_when_loaded(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_WHEN_LOADED) and name not in PER_RUN
    }
