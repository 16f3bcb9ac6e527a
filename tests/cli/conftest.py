"""Running commands: in this process where that is the same, and as processes where it is not."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from jotunheim.cli import main
from tests.support.processes import JOTUNHEIM
from tests.support.service import Service

REPLAY_SECONDS = 120


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it must be."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[..., Ran]


class Terminal(io.StringIO):
    """Standard input on which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: `run("server", "list", stdin="…", JOTUNHEIM_URL=…)`."""

    def run_command(*arguments: str, stdin: str | io.StringIO = "", **environment: str) -> Ran:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", stdin if isinstance(stdin, io.StringIO) else io.StringIO(stdin))
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run_command


@pytest.fixture
def against(service: Service, run: Run) -> Run:
    """Runs a remote command against the service of the session."""
    return lambda *arguments, **options: run(*arguments, **{**remote(service), **options})


def remote(service: Service) -> dict[str, str]:
    """The environment of remote commands."""
    url = str(service.http.base_url).removesuffix("/api/v1/")
    return {"JOTUNHEIM_URL": url, "JOTUNHEIM_TOKEN": service.token}


def run_process(*arguments: str, timeout: float = REPLAY_SECONDS, **environment: str) -> Ran:
    """Run a command as a process."""
    ended = subprocess.run(
        [JOTUNHEIM, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)
