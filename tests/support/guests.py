"""What tests need to meet the sandbox's guests: whether there can be any, their processes, and an ssh client."""

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.databases import missing
from tests.support.processes import JOTUNHEIM


def require_guests() -> None:
    """Skip the test where the sandbox can have no guests; where services are required, fail it."""
    problem = guests_problem()
    if problem:
        missing(problem)
    if shutil.which("ssh") is None:
        missing("ssh (Debian: openssh-client)")


@functools.cache
def guests_problem() -> str:
    """Why the sandbox can have no guests here; empty if it can."""
    command = [JOTUNHEIM, "sandbox", "--guests", "process", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"guests: {done.stderr.strip()}"


def descendants(pid: int) -> list[int]:
    """All processes below a process."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def alive(pid: int) -> bool:
    """Whether a process is there; one that has ended but that nobody has asked for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class SshClient:
    """The ssh program with a key of its own and no knowledge of hosts."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "SshClient":
        """Make a key, and the program that ssh asks for a password."""
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        asked = folder / "askpass"
        asked.write_text('#!/bin/sh\nprintf "%s\\n" "$TEST_PASSWORD"\n')
        asked.chmod(0o700)
        return cls(folder)

    @property
    def public_key(self) -> str:
        """The line for authorized_keys."""
        return (self.folder / "key.pub").read_text().strip()

    def run(
        self, where: dict[str, str | int], user: str, *command: str, password: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh: with the key, or with a password."""
        environment = {**os.environ, "TEST_PASSWORD": password or "", "SSH_ASKPASS_REQUIRE": "force"}
        return subprocess.run(
            [*self._command(user, where, password), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment | {"SSH_ASKPASS": str(self.folder / "askpass")},
        )

    def session(self, where: dict[str, str | int], user: str) -> "subprocess.Popen[bytes]":
        """A session that stays open until it is ended; logged in with the key."""
        return subprocess.Popen(
            [*self._command(user, where, None), "echo in; exec sleep 600"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def _command(self, user: str, where: dict[str, str | int], password: str | None) -> list[str]:
        options = {
            "BatchMode": "no" if password else "yes",
            "ConnectTimeout": "5",
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "NumberOfPasswordPrompts": "1",
            "PreferredAuthentications": "password" if password else "publickey",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        key = str(self.folder / "key")
        return [
            "ssh",
            "-F",
            "none",
            "-i",
            key,
            *arguments,
            "-p",
            str(where["port"]),
            f"{user}@{where['host']}",
        ]
