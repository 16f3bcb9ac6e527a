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
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ansible_runner

from jotunheim.ansible import inventory, paths
from jotunheim.ansible.events import Kind, TaskEvent, masked, translate
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.journal import RUN_FILE_VARIABLE

FORKS = 25
# ansible-runner looks for cancellation and time-out at least this often.
POLL_SECONDS = 1
TAIL_LINES = 20
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

log = logging.getLogger(__name__)


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
        message = str(result.get("msg") or result.get("exception") or "no reason was given").strip()
        return ServerDeploymentError(
            "playbook_failed",
            f"The task “{self.failure.task}” failed: {message[:1000]}",
            hint="See the worker's log.",
        )


@dataclass(frozen=True)
class RunResult:
    """What became of a run."""

    status: str
    """ansible-runner's word: `successful`, `failed`, `timeout` or `canceled`."""
    hosts: Mapping[str, HostResult]
    reason: str
    """What ansible said outside of tasks: why it could not even begin."""

    def of(self, host: str) -> HostResult:
        """The results of a host that the playbook finished on.

        Raises:
            ServerDeploymentError: it did not.
        """
        found = self.hosts[host]
        if found.error:
            raise found.error
        if self.status == "timeout":
            raise ServerDeploymentError(
                "run_timeout", "The run took too long and was stopped.", retryable=True
            )
        if self.status != "successful" or not found.results:
            raise ServerDeploymentError(
                "ansible_failed",
                f"Ansible ended with status {self.status} before it had finished: {self.reason}",
                hint="See the worker's log; `ansible-playbook --syntax-check` finds broken playbooks.",
            )
        return found


def run(wanted: Run) -> RunResult:
    """Run a playbook over its hosts; returns when it has ended, however it ended.

    The directory must not exist; it is removed at the end. Exceptions are those of the file system only.
    """
    wanted.directory.mkdir(mode=0o700, parents=True)
    try:
        return _run(wanted)
    finally:
        # What cannot be removed must not hide how the run ended; it holds no secret.
        shutil.rmtree(wanted.directory, ignore_errors=True)


def _run(wanted: Run) -> RunResult:
    hosts_file = wanted.directory / "hosts.yml"
    hosts_file.write_text(wanted.inventory)
    run_file = wanted.directory / "run.json"
    run_file.write_text(
        json.dumps({host.name: {"job_id": host.job_id, "fence": host.fence} for host in wanted.hosts})
    )
    config_file = wanted.directory / "ansible.cfg"
    config_file.touch()  # empty: neither the operator's nor the system's configuration has a say
    results = {host.name: HostResult() for host in wanted.hosts}
    secrets = [secret for host in wanted.hosts for secret in host.secrets]
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    broken: list[Exception] = []

    def on_event(event: dict[str, Any]) -> bool:
        try:
            told = None if broken else translate(event, secrets)
            if told is not None:
                _collect(results[told.host], told)
                wanted.on_event(told)
        except Exception as error:  # noqa: BLE001 - raised below: here it would leave Ansible running
            broken.append(error)
        if event.get("event") in ("verbose", "error") and str(event.get("stdout", "")).strip():
            tail.append(str(event["stdout"]).strip())
        return False  # nothing of it goes to disk

    runner = ansible_runner.interface.init_runner(
        private_data_dir=str(wanted.directory),
        playbook=str(paths.PLAYBOOKS / wanted.playbook),
        inventory=str(hosts_file),
        cmdline="--diff --check" if wanted.check else "--diff",
        forks=FORKS,
        ident="run",
        quiet=True,
        suppress_env_files=True,
        settings={"pexpect_timeout": POLL_SECONDS, "suppress_output_file": True},
        timeout=wanted.timeout_seconds,
        event_handler=on_event,
        cancel_callback=lambda: bool(broken) or wanted.is_cancelled(),
    )
    added_by_runner = {key: value for key, value in runner.config.env.items() if os.environ.get(key) != value}
    runner.config.env = {
        **{key: os.environ[key] for key in _INHERITED if key in os.environ},
        **added_by_runner,
        **paths.environment(),
        **wanted.environment,
        "ANSIBLE_CONFIG": str(config_file),
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_HOME": str(wanted.directory / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        RUN_FILE_VARIABLE: str(run_file),
    }
    launcher = [sys.executable, "-P", "-m", "jotunheim.ansible.launcher", str(os.getpid())]
    runner.config.command = [*launcher, *runner.config.command[1:]]
    runner.run()
    if broken:
        raise broken[0]
    if runner.status != "successful":
        log.warning("Run %s ended with status %s: %s", wanted.directory.name, runner.status, "\n".join(tail))
    return RunResult(runner.status, results, _reason(tail, secrets))


def _collect(host: HostResult, event: TaskEvent) -> None:
    if event.kind is Kind.OK:
        host.results[event.action] = event.result
        host.tasks[event.task] = event.result
    elif event.kind is Kind.FAILED and not event.result.get("ignored"):
        host.failure = event


def _reason(printed: Iterable[str], secrets: Sequence[str]) -> str:
    """The first line that ansible calls an error, or the last one that it printed; never a traceback."""
    lines = [line for text in printed for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lstrip("[").startswith("ERROR")]
    reason: str = masked((errors or lines[-1:] or ["it printed nothing"])[0], secrets)
    return reason[:1000]
