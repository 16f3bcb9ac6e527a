"""Programs that the guest agent starts: input, output with its limits, exit codes; and the reaping of all children.

As qemu-ga does it: the output is collected in memory up to 16 MiB a stream, and can be asked for once, after
the program has ended and has closed its streams.
"""

import errno
import os
import selectors
import subprocess
from dataclasses import dataclass, field
from typing import Any

from jotunheim.sandbox.guests.image import PATH
from jotunheim.sandbox.guests.messages import AgentError

MOST_OUTPUT = 16 * 1024 * 1024
ALL_OUTPUT = 48 * 1024 * 1024
"""Of all programs of one guest that nobody has asked for yet: more is cut off, as if the limit were reached."""
CHUNK = 65_536
REMEMBERED = 200
"""Ended programs that nobody has asked for."""
DETACHED = 30
"""Programs at a time that nobody asks for: connections to sshd."""
ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8"}


@dataclass
class Stream:
    """One of a program's output streams."""

    descriptor: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False
    closed: bool = False


@dataclass
class Program:
    """A program that was started for the agent."""

    out: Stream
    err: Stream
    status: int | None = None

    @property
    def finished(self) -> bool:
        """Whether it has ended and its output is complete."""
        return self.status is not None and self.out.closed and self.err.closed


class Programs:
    """All children of a guest's init."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self.known: dict[int, Program] = {}
        self.detached: set[int] = set()
        self.collected = 0

    def start(self, command: list[str], given: bytes | None) -> int:
        """Start a program as root, with its standard input if there is one. Returns its process id.

        Raises:
            AgentError: it cannot be started.
        """
        words = [word.partition("\0")[0].encode("utf-8", "surrogateescape") for word in command]
        process = _spawn(words, with_input=given is not None)
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = (Stream(os.dup(pipe.fileno())) for pipe in (process.stdout, process.stderr))
        process.stdout.close()
        process.stderr.close()
        self._forget_old()
        self.known[process.pid] = Program(out, err)
        for stream in (out, err):
            os.set_blocking(stream.descriptor, False)
            self.selector.register(
                stream.descriptor, selectors.EVENT_READ, lambda s=stream: self._on_output(s)
            )
        if given is not None:
            assert process.stdin is not None
            self._feed(os.dup(process.stdin.fileno()), given)
            process.stdin.close()
        process.returncode = 0  # `reap` waits for it
        return process.pid

    def start_detached(self, command: list[str], connection: int) -> None:
        """Start a program with its input and output on a descriptor."""
        if len(self.detached) >= DETACHED:
            return
        try:
            process = subprocess.Popen(
                command, stdin=connection, stdout=connection, env=ENVIRONMENT,
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            return
        self.detached.add(process.pid)
        process.returncode = 0

    def status(self, pid: int) -> tuple[dict[str, Any], bytes]:
        """What is known of a program; both streams' output, one after the other. Ended programs are forgotten.

        Raises:
            AgentError: no such program was started, or it was asked for already.
        """
        program = self.known.get(pid)
        if program is None:
            raise AgentError("Invalid parameter 'pid'")
        if not program.finished:
            return {"exited": False}, b""
        self._forget(pid)
        assert program.status is not None
        answer: dict[str, Any] = {"exited": True, "out": len(program.out.data), "err": len(program.err.data)}
        answer |= {"out-truncated": program.out.truncated, "err-truncated": program.err.truncated}
        if os.WIFSIGNALED(program.status):
            answer["signal"] = os.WTERMSIG(program.status)
        else:
            answer["exitcode"] = os.WEXITSTATUS(program.status)
        return answer, bytes(program.out.data + program.err.data)

    def reap(self) -> bool:
        """Take leave of all processes that have ended. Returns whether others are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.detached.discard(pid)
            if pid in self.known and self.known[pid].status is None:
                self.known[pid].status = status

    def _feed(self, descriptor: int, data: bytes) -> None:
        os.set_blocking(descriptor, False)
        rest = memoryview(data)

        def write() -> None:
            nonlocal rest
            try:
                rest = rest[os.write(descriptor, rest) :] if rest else rest
            except BlockingIOError:
                return
            except OSError:
                rest = rest[:0]  # the program does not want the rest
            if not rest:
                self.selector.unregister(descriptor)
                os.close(descriptor)

        self.selector.register(descriptor, selectors.EVENT_WRITE, write)

    def _on_output(self, stream: Stream) -> None:
        try:
            part = os.read(stream.descriptor, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        room = min(MOST_OUTPUT - len(stream.data), ALL_OUTPUT - self.collected)
        if room <= 0:
            stream.truncated = True
        kept = part[:room] if room > 0 else b""
        stream.data += kept
        self.collected += len(kept)
        if not part:
            self.selector.unregister(stream.descriptor)
            os.close(stream.descriptor)
            stream.closed = True

    def _forget(self, pid: int) -> None:
        program = self.known.pop(pid)
        self.collected -= len(program.out.data) + len(program.err.data)

    def _forget_old(self) -> None:
        ended = [pid for pid, program in self.known.items() if program.finished]
        for pid in ended[: max(0, len(ended) - REMEMBERED)]:
            self._forget(pid)


def _spawn(words: list[bytes], *, with_input: bool) -> "subprocess.Popen[bytes]":
    try:
        return _popen(words, with_input=with_input)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without its first line: GLib gives it to the shell
            return _popen([b"/bin/sh", *words], with_input=with_input)
        if error.errno in (errno.EAGAIN, errno.ENOMEM):
            why = f"Failed to fork ({error.strerror})"
        else:
            name = words[0].decode(errors="replace")
            why = f"Failed to execute child process \u201c{name}\u201d ({error.strerror})"
        raise AgentError(f"Guest agent command failed, error was '{why}'") from error


def _popen(words: list[bytes], *, with_input: bool) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE if with_input else None,  # ours is /dev/null; that of the guest may be anything
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
