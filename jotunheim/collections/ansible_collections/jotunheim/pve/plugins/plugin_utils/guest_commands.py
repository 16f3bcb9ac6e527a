"""Commands in a guest, through its agent: each runs at most once, or an error says what is known.

`guest_scripts` is what runs in the guest.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import secrets
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

from ansible_collections.jotunheim.pve.plugins.plugin_utils import guest_scripts
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_calls import (
    MOST_CONTENT,
    MOST_INPUT,
    GuestCalls,
    as_bytes,
    printable,
)

from jotunheim.exceptions.repository import (
    GuestInterruptedError,
    GuestRefusedError,
    GuestTimeoutError,
    GuestUnreachableError,
    ProxmoxRequestError,
)

MOST_COMMAND = 48_000
"""Bytes: in base64 a part of the input."""

_PIECE = MOST_CONTENT // 4 * 3
_BLOCK = 2 * 1024**2
"""Bytes that are compressed and put together at a time."""

_DONE = re.compile(rb"jotunheim done (\d{1,3})")
_PLAIN = re.compile(rb"[\t\n\x20-\x7e]*")
_UPTIME_MARGIN_SECONDS = 10
_MOST_LOOKS = 10
_ENDING_SECONDS = 10

_BEGUN = "A command had been started in the guest; how far it came is not known."


class Result(NamedTuple):
    """What a command of the guest left: its exit code, as a shell tells it, and its output."""

    code: int
    out: bytes
    err: bytes


class GuestCommands:
    """Runs commands as root in a guest.

    Methods raise GuestUnreachableError (nothing was done), GuestInterruptedError, GuestTimeoutError and GuestRefusedError, and
    what `ProxmoxClient` raises.

    Args:
        command_seconds: how long a command may take; 0: as long as it likes.
    """

    def __init__(self, calls: GuestCalls, command_seconds: float) -> None:
        self.calls = calls
        self._command_seconds = command_seconds
        self._over: list[str] = []

    def run(self, command: str, data: bytes | None = None) -> Result:
        """Run a shell command, with `data` as its standard input (None: empty)."""
        line = _line(command)
        key = new_key()
        if data and (len(line) + len(data) > MOST_INPUT or not _PLAIN.fullmatch(data)):
            return self.feed(key, io.BytesIO(data), f"{guest_scripts.FOLDER}/{key}.in", command)
        try:
            return self._carry_out(key, line + (data or b"").decode())
        finally:
            self._over.append(key)

    def feed(self, key: str, source: BinaryIO, path: str, command: str) -> Result:
        """Put data together in a new file of the guest; once all of it is proven to be there, run a command with it as input.

        Args:
            key: of `new_key`.
        """
        line, digest, number, block = _line(command), sha256(), 0, source.read(_BLOCK)
        try:
            while True:
                following = source.read(_BLOCK)
                digest.update(block)
                number += 1
                name = f"{key}.{number}"
                self._write_pieces(name, gzip.compress(block, mtime=0))
                if not following:
                    return self._carry_out(name, line, path, digest.hexdigest())
                self._carry_out(name, _line(":"), path)
                block = following
        finally:
            self._over.append(key)

    def close(self) -> None:
        """Remove from the guest what the commands left. That it may fail is provided for, see `FORGET`."""
        if self._over:
            self._execute(guest_scripts.FORGET, *self._over)
            self._over.clear()

    def _write_pieces(self, name: str, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            file = f"{guest_scripts.FOLDER}/{name}.{start // _PIECE:08}"
            # This alphabet goes through forms as it is.
            content = urlsafe_b64encode(data[start : start + _PIECE]).decode()
            try:
                self.calls.write(file, content)
            except GuestRefusedError as error:
                if start or "No such file or directory" not in error.message:
                    raise
                self.run(":")  # makes the folder
                self.calls.write(file, content)

    def _carry_out(self, name: str, given: str, path: str = "", digest: str = "") -> Result:
        """Run a command under a name that no other has.

        Args:
            given: the command's line, and its standard input.
            path: what the pieces under this name are added to.
            digest: SHA-256 of what is then there; with it, it is the command's standard input.
        """
        began, mode = time.monotonic(), "run"
        until = began + self._command_seconds if self._command_seconds else None
        for _ in range(_MOST_LOOKS):
            since = math.ceil(time.monotonic() - began) + _UPTIME_MARGIN_SECONDS
            told = [guest_scripts.KEEPER, mode, name, str(since), path, digest, " ".join(self._over)]
            words = ["/bin/sh", "-c", guest_scripts.RUNNER, "run", *(word or "-" for word in told)]
            pid = None
            try:
                pid = self.calls.start(words, given, repeatable=mode != "run")
                status = None if pid is None else self.calls.wait(pid, until)
            except GuestUnreachableError as error:
                if mode == "run" and pid is None:
                    raise
                raise GuestInterruptedError(f"{error.message} {_BEGUN}", hint=error.hint) from None
            except TimeoutError:
                ended = "was ended" if self._execute(guest_scripts.END, name) else "could not be ended"
                raise GuestTimeoutError(
                    f"A command in the guest did not end within {self._command_seconds:g} s, and {ended}."
                ) from None
            if status is not None:
                self._over.clear()
                return _result(status)
            mode = "again" if pid is None else "look"
        raise GuestInterruptedError(f"The guest's agent gives no result. {_BEGUN}")

    def _execute(self, script: str, *words: str) -> bool:
        """Run a script that may be run twice. Whether it has ended within some seconds; if not, that is no failure."""
        calls = self.calls.hurried()
        with suppress(ProxmoxRequestError, TimeoutError):
            pid = calls.start(["/bin/sh", "-c", script, "script", *words], repeatable=True)
            return pid is not None and calls.wait(pid, time.monotonic() + _ENDING_SECONDS) is not None
        return False


def new_key() -> str:
    """A name for a command that no other has."""
    return secrets.token_hex(16)


def _line(command: str) -> str:
    """A command as the runner reads it. Names of files in it may be any bytes, which Ansible keeps as surrogates."""
    encoded = command.encode(errors="surrogateescape")
    if len(encoded) > MOST_COMMAND:
        raise GuestRefusedError(
            f"A command of {len(encoded)} bytes cannot be passed to the guest; {MOST_COMMAND} is the most.",
            hint="Put it into a file, and copy that.",
        )
    return b64encode(encoded).decode() + "\n"


def _result(status: Mapping[str, Any]) -> Result:
    """What the runner says about a command, in the first line of its output."""
    err = as_bytes(status.get("err-data", ""))
    line, _, out = as_bytes(status.get("out-data", "")).partition(b"\n")
    cut = status.get("out-truncated") or status.get("err-truncated")
    if cut or line == b"jotunheim full" or guest_scripts.MOST_OUTPUT in (len(out), len(err)):
        raise GuestRefusedError(
            "A command in the guest printed more than can be passed on (16 MiB); it has ended.",
            hint="Let it write to a file, and fetch that.",
        )
    done = _DONE.fullmatch(line)
    if done:
        return Result(int(done[1]), out, err)
    shown = printable(err.decode(errors="replace"))
    match line:
        case b"jotunheim torn":
            raise GuestRefusedError(
                f"What was sent did not arrive whole in the guest. {shown}", hint="Is its disk full?"
            )
        case b"jotunheim dead":
            raise GuestInterruptedError(f"The agent or the guest ended it. {_BEGUN}")
        case b"jotunheim gone":
            raise GuestInterruptedError(f"The guest has booted anew. {_BEGUN}")
        case b"jotunheim unclear":
            raise GuestInterruptedError(
                "The guest has booted anew; whether a command was started in it before is not known."
            )
    raise GuestRefusedError(
        f"Nothing can be run in the guest: {shown}", hint="docs/guest-agent.md says what it needs."
    )
