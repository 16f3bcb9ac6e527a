"""The demo's processes: the Proxmox VE stand-in and the service, with their logs."""

import json
import subprocess
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from jotunheim.cli.demo.directory import DRAIN_SECONDS, DemoDirectory
from jotunheim.cli.errors import CommandError, Problem
from jotunheim.cli.supervisor import KILL_MARGIN_SECONDS, start

SHOWN_LOG_LINES = 10


class Machines:
    """Starts processes and stops them all at the end. Use it as a context.

    An error that leaves the context carries the last lines of the logs.
    """

    def __init__(self, directory: DemoDirectory) -> None:
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        missing = [package for package in ("aiohttp", "fakepve") if find_spec(package) is None]
        if missing:
            raise CommandError(
                f"The demo needs the extra `sandbox` ({', '.join(missing)} is missing).",
                code="sandbox_missing",
                hint="pip install 'jotunheim[sandbox]'",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The service first: it would complain about a hypervisor that went away.
        for process in reversed(self._processes.values()):
            self._stop(process)
        if isinstance(error, CommandError):
            error.problems += tuple(
                Problem(self._directory.log_file(name).name, line)
                for name in self._processes
                for line in self._last_lines(name)
            )

    def start(self, name: str, *arguments: str) -> None:
        """Start `jotunheim` with these arguments; it logs to `NAME.log`."""
        with self._directory.log_file(name).open("wb") as log:
            self._processes[name] = start(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._directory.environment(),
            )

    def ready(self, name: str) -> dict[str, Any]:
        """Wait until a process prints what it has to say about itself.

        Raises:
            CommandError: it ended instead.
        """
        process = self._processes[name]
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise self._ended(name, process.wait())
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            error = told["error"]
            raise CommandError(error["message"], code=error["code"], hint=error["hint"])
        return told

    def check(self) -> None:
        """Raise CommandError when a process has ended."""
        for name, process in self._processes.items():
            status = process.poll()
            if status is not None:
                raise self._ended(name, status)

    def _ended(self, name: str, status: int) -> CommandError:
        return CommandError(
            f"The process {name} ended with status {status}.",
            code="process_ended",
            hint=f"See {self._directory.log_file(name)}.",
        )

    def _last_lines(self, name: str) -> list[str]:
        text = self._directory.log_file(name).read_text(errors="replace")
        return text.splitlines()[-SHOWN_LOG_LINES:]

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(DRAIN_SECONDS + 2 * KILL_MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
