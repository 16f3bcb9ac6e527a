"""The demo's state directory: replaced by every demo, kept afterwards, so that its run can be replayed."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from jotunheim import settings
from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.settings import Settings

LOCK = ".jotunheim-demo"
"""The lock file; a directory that has it is ours to replace."""
DRAIN_SECONDS = 5


def default_directory() -> Path:
    """`$XDG_STATE_HOME/jotunheim-demo`, by default `~/.local/state/jotunheim-demo`."""
    return settings.default_state_dir().with_name("jotunheim-demo")


class DemoDirectory:
    """An empty directory (0700) that only this demo uses. Use it as a context.

    Raises:
        CommandError: another demo uses it, or it holds something that no demo made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.settings_file = self.path / "jotunheim.toml"
        self.hypervisor_file = self.path / "hypervisor.json"
        self.inventories = self.path / "inventories"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            entries = {entry.name for entry in self.path.iterdir()}
            if entries and LOCK not in entries:
                raise self._refused("holds something that no demo made", "Give an empty --state-dir.")
            self._lock = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.chmod(0o700)
        except BlockingIOError:
            os.close(self._lock)
            raise self._refused(
                "is in use by another demo", "Stop that one, or give a --state-dir."
            ) from None
        except OSError as error:
            raise self._refused(f"cannot be used: {error.strerror}", "Give another --state-dir.") from None
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()
        self._write_settings()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def log_file(self, process: str) -> Path:
        """Where a process of the demo logs."""
        return self.path / f"{process}.log"

    def settings(self) -> Settings:
        """The service's settings: those of the file alone, whatever the environment says."""
        return settings.load({"JOTUNHEIM_CONFIG": str(self.settings_file)})

    def environment(self) -> dict[str, str]:
        """This process's environment, with the demo's settings in the place of all others."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(settings.PREFIX)
        }
        return {**inherited, "JOTUNHEIM_CONFIG": str(self.settings_file)}

    def _write_settings(self) -> None:
        values = {
            "state_dir": str(self.path / "service"),
            "listen": "127.0.0.1:0",
            "drain_seconds": DRAIN_SECONDS,
        }
        # JSON strings and numbers are TOML's, too.
        self.settings_file.write_text(
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        )

    def _refused(self, why: str, hint: str) -> CommandError:
        return CommandError(
            f"The directory {self.path} {why}.", code="state_dir", exit_code=ExitCode.USAGE, hint=hint
        )
