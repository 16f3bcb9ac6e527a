"""Runs a playbook with ansible-runner and tells what became of each host.

A run has a directory of its own (0700) for inventory and artefacts; it goes when the run is over. Its
environment is built from nothing: the worker's own may hold secrets, and ansible-runner writes the run's
environment to a file.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ansible_runner

from jotunheim import bounded
from jotunheim.ansible import failures, inventory, paths, processes, terminal
from jotunheim.ansible.events import Kind, TaskEvent, masked, translate
from jotunheim.ansible.warm import WarmAnsible
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.journal import CHANGING, RUN_FILE_VARIABLE, STOPPING

FORKS = 25
# ansible-runner looks for cancellation and time-out at least this often.
POLL_SECONDS = 1
PATIENCE_SECONDS = 5.0
"""How long a run that shall stop may wait for the answer to a request that changes something: it is on its way to the
node, and what it does would be seen by nobody."""
TAIL_LINES = 20
PRINTED_CHARACTERS = 4096
_INHERITED = (
    "HOME",
    "USER",
    "LOGNAME",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
)

terminal.install()
log = logging.getLogger(__name__)
_warm: WarmAnsible | None = None


class TaskFailedError(ServerDeploymentError):
    """A task said why it failed.

    Attributes:
        task: its name.
        result: all that it returned.
    """

    def __init__(self, task: str, told: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        super().__init__(
            str(told.get("code", "playbook_failed")),
            str(told.get("message", "")),
            retryable=bool(told.get("retryable", False)),
            hint=told.get("hint"),
        )
        self.task = task
        self.result = result


@dataclass(frozen=True)
class Host:
    """One host of a run: a server, and the job that it is there for."""

    name: str
    job_id: str
    fence: int
    variables: Mapping[str, Any]
    secrets: Sequence[str] = ()
    """Values that must not appear in any event, as a second line of defence."""


@dataclass(frozen=True)
class Run:
    """What shall be run."""

    playbook: str
    hosts: Sequence[Host]
    directory: Path
    timeout_seconds: int
    on_event: Callable[[TaskEvent], None]
    is_cancelled: Callable[[], bool]
    environment: Mapping[str, str]
    """Settings for the plugins, e.g. where the database is. Nothing secret."""
    check: bool = False
    checks_arguments: bool = True
    """Whether roles check their arguments first, each host's by a process of its own; by hand they do in any case."""
    shared: bool = False
    """Whether each host is there for another job; then none waits for another one."""

    @cached_property
    def inventory(self) -> str:
        """The inventory with all variables, as YAML."""
        return inventory.render({host.name: host.variables for host in self.hosts})


@dataclass
class HostResult:
    """What became of one host: the results of its tasks by action and by name, and the one that failed."""

    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failure: TaskEvent | None = None

    @property
    def error(self) -> ServerDeploymentError | None:
        """The failure as an error; None when no task failed."""
        if self.failure is None:
            return None
        result = self.failure.result
        told = result.get("error")
        if isinstance(told, Mapping):
            return TaskFailedError(self.failure.task, told, result)
        message = failures.of_task(str(result.get("msg") or result.get("exception") or ""))
        return ServerDeploymentError(
            "playbook_failed",
            f"The task “{self.failure.task}” failed: {message}",
            hint="See the worker's log.",
        )


@dataclass(frozen=True)
class RunResult:
    """What became of a run."""

    status: str
    """ansible-runner's word: `successful`, `failed`, `timeout` or `canceled`."""
    hosts: Mapping[str, HostResult]
    failure: ServerDeploymentError | None
    """Why it ended before the playbook did; None: it did not."""

    def of(self, host: str) -> HostResult:
        """The results of a host that the playbook finished on.

        Raises:
            ServerDeploymentError: it did not.
        """
        found = self.hosts[host]
        error = found.error or self.failure
        if self.failure and error and self.failure.code == "worker_disk" and error.code == "playbook_failed":
            error = self.failure  # without room a task fails as well, and does not know why
        if error:
            raise error
        if not found.results:
            raise ServerDeploymentError(
                "ansible_failed",
                "Ansible ended without having done anything for this server.",
                hint="See whether the playbook has tasks for the group `servers`.",
            )
        return found


def keep_warm(drivers: Sequence[str] = ()) -> WarmAnsible:
    """Use a loaded Ansible for all runs of this process from now on; start it, too. Until then they load it anew.

    Args:
        drivers: those that the plugins need to find the store, of `jotunheim.drivers`.
    """
    global _warm
    with tempfile.TemporaryDirectory() as name:
        sample = Run("none.yml", (), Path(name), 1, lambda _: None, lambda: False, {})
        environment = _prepared(
            sample, Path(name) / "run.json", lambda _: False, sample.is_cancelled
        ).config.env
    own = {name for name in environment if name.startswith(("AWX_", "JOTUNHEIM_"))}
    _warm = WarmAnsible({name: value for name, value in environment.items() if name not in own}, drivers)
    return _warm


def run(wanted: Run) -> RunResult:
    """Run a playbook over its hosts; returns when it has ended, however it ended, and nothing of it is left.

    The directory must not exist; it is removed at the end. The only exceptions are those of `on_event` and
    `is_cancelled`: the run is ended, then they are raised.
    """
    try:
        wanted.directory.mkdir(mode=0o700, parents=True)
    except OSError as error:
        return RunResult("failed", _no_results(wanted), failures.of_exception(error))
    try:
        return _run(wanted)
    finally:
        # What cannot be removed must not hide how the run ended; it holds no secret.
        shutil.rmtree(wanted.directory, ignore_errors=True)


def _run(wanted: Run) -> RunResult:
    results = _no_results(wanted)
    secrets = [secret for host in wanted.hosts for secret in host.secrets]
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    broken: list[Exception] = []
    deadline: float | None = None

    def on_event(event: dict[str, Any]) -> bool:
        try:
            if "uuid" in event and "event" not in event:
                raise failures.disk("a report of Ansible is gone")  # noqa: TRY301 - it ends the run as any other
            told = None if broken else translate(event, secrets)
            if told is not None:
                collect(results[told.host], told)
                wanted.on_event(told)
        except Exception as error:  # noqa: BLE001 - raised below: here it would leave Ansible running
            broken.append(error)
        if event.get("event") in ("verbose", "error") and str(event.get("stdout", "")).strip():
            tail.append(masked(bounded.text(str(event["stdout"]).strip(), PRINTED_CHARACTERS), secrets))
        return False  # nothing of it goes to disk

    def is_cancelled() -> bool:
        nonlocal deadline
        try:
            if not broken and not wanted.is_cancelled():
                return False
        except Exception as error:  # noqa: BLE001 - raised below, as above
            broken.append(error)
        if deadline is None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            with suppress(OSError):  # no room: it is stopped all the same
                (wanted.directory / STOPPING).touch()
        return time.monotonic() > deadline or not any(wanted.directory.glob(CHANGING))

    status, failure = _watch(wanted, on_event, is_cancelled, tail)
    if broken:
        raise broken[0]
    if failure is not None:
        log.warning("Run %s ended with status %s: %s", wanted.directory.name, status, "\n".join(tail))
    return RunResult(status, results, failure)


def _no_results(wanted: Run) -> dict[str, HostResult]:
    return {host.name: HostResult() for host in wanted.hosts}


def _watch(
    wanted: Run,
    on_event: Callable[[dict[str, Any]], bool],
    is_cancelled: Callable[[], bool],
    printed: Iterable[str],
) -> tuple[str, ServerDeploymentError | None]:
    """Have ansible-runner carry the run out; its status, and why it ended before its playbook did.

    Afterwards no process of the run lives.
    """
    run_file = wanted.directory / "run.json"
    try:
        runner = _prepared(wanted, run_file, on_event, is_cancelled)
        runner.run()
        return runner.status, failures.of_run(runner.status, runner.rc, printed)
    except Exception as error:
        log.exception("Run %s cannot be followed.", wanted.directory.name)
        # ansible-runner does not end what it started when it cannot go on; its frames hold the terminal.
        traceback.clear_frames(error.__traceback__)
        return "failed", failures.of_exception(error)
    finally:
        processes.end_all(RUN_FILE_VARIABLE, str(run_file))


def _prepared(
    wanted: Run, run_file: Path, on_event: Callable[[dict[str, Any]], bool], is_cancelled: Callable[[], bool]
) -> Any:
    """A runner of ansible-runner, with all files of the run written."""
    hosts_file = wanted.directory / "hosts.yml"
    hosts_file.write_text(wanted.inventory)
    run_file.write_text(
        json.dumps({host.name: {"job_id": host.job_id, "fence": host.fence} for host in wanted.hosts})
    )
    config_file = wanted.directory / "ansible.cfg"
    config_file.touch()  # empty: neither the operator's nor the system's configuration has a say
    runner = ansible_runner.interface.init_runner(
        private_data_dir=str(wanted.directory),
        playbook=str(paths.PLAYBOOKS / wanted.playbook),
        inventory=str(hosts_file),
        cmdline=_options(wanted),
        forks=max(FORKS, len(wanted.hosts)) if wanted.shared else FORKS,
        ident="run",
        quiet=True,
        suppress_env_files=True,
        # No password is asked for. The pattern takes what was read out of pexpect's buffer, which would grow for ever.
        passwords={"(?s).+": None},
        timeout=wanted.timeout_seconds,
        event_handler=on_event,
        cancel_callback=is_cancelled,
    )
    # Set here, because ansible-runner forgets the settings that it is given when it must not write them to a file.
    runner.config.pexpect_timeout = POLL_SECONDS
    runner.config.suppress_output_file = True
    added_by_runner = {key: value for key, value in runner.config.env.items() if os.environ.get(key) != value}
    runner.config.env = {
        **{key: os.environ[key] for key in _INHERITED if key in os.environ},
        **added_by_runner,
        **paths.environment(),
        **wanted.environment,
        "ANSIBLE_CALLBACK_PLUGINS": os.pathsep.join(
            [str(paths.CALLBACKS), runner.config.env["ANSIBLE_CALLBACK_PLUGINS"]]
        ),
        "ANSIBLE_CONFIG": str(config_file),
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_INVENTORY_ENABLED": "yaml",  # else each large one is read twice
        "ANSIBLE_HOME": str(wanted.directory / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "jotunheim_events",
        "ANSIBLE_STRATEGY": "jotunheim",
        "ANSIBLE_STRATEGY_PLUGINS": str(paths.STRATEGIES),
        "JOTUNHEIM_SHARED_RUN": "1" if wanted.shared else "",
        "LC_ALL": "C.UTF-8",
        "ORIGINAL_STDOUT_CALLBACK": "jotunheim_silent",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # An event that cannot be told ends the run: nobody would know what it does.
        "_ANSIBLE_CALLBACK_DISPATCH_ERROR_BEHAVIOR": "error",
        RUN_FILE_VARIABLE: str(run_file),
    }
    runner.config.command = [*_launcher(runner.config.env), *runner.config.command[1:]]
    return runner


def _options(wanted: Run) -> str:
    """Options of `ansible-playbook`. Ansible's check of a role's arguments is tagged `always`, and nothing of ours is."""
    options = {
        "--diff": True,
        "--check": wanted.check,
        "--skip-tags always": not wanted.checks_arguments,
    }
    return " ".join(option for option, given in options.items() if given)


def _launcher(environment: Mapping[str, str]) -> list[str]:
    """What stands for the command `ansible-playbook`: in the loaded Ansible if there is one, else a new one."""
    warm = _warm.command(environment) if _warm else None
    return warm or [sys.executable, "-P", "-m", "jotunheim.ansible.launcher", str(os.getpid())]


def collect(host: HostResult, event: TaskEvent) -> None:
    """Keep what an event tells about a host."""
    if event.kind is Kind.OK:
        host.results[event.action] = event.result
        host.tasks[event.task] = event.result
    elif event.kind is Kind.FAILED and not event.result.get("ignored"):
        host.failure = event
