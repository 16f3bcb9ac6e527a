"""Commands of `jotunheim` as forks of a process that has imported them already, for tests that start many.

A child is what the command's own process would be: the command line's `main` with these arguments and this environment,
in a session of its own, under a process id of its own. Only the imports are not its own: they are most of what a start
costs. Commands whose imports are to differ need a process of their own (`tests/support/processes.py`).
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

# What `serve`, `worker`, `init` and `sandbox` import, with what they import when they begin to work.
PRELOADED = (
    "jotunheim.app",
    "jotunheim.bootstrap.worker",
    "jotunheim.cli",
    "jotunheim.sandbox.main",
    "jotunheim.sandbox.runner",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
REQUEST_BYTES = 128 * 1024


class Forked:
    """A forked command; what tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], stdout: int, reply: socket.socket) -> None:
        self.args = list(arguments)
        self.stdout = open(stdout)  # noqa: SIM115 - closed by whoever ends the process
        self.returncode: int | None = None
        self._reply = reply
        self.pid = int(reply.recv(32))

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or the negative number of the signal that ended it; raises TimeoutExpired."""
        if self.returncode is None:
            self._reply.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._reply.recv(32)))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._reply.close()
        return self.returncode

    def poll(self) -> int | None:
        """The same, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Signal it, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def fork(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Forked:
    """Start `jotunheim ARGUMENTS…`; standard error goes to a file."""
    reply, replies = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdout, written = os.pipe()
    request = json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode()
    _, server = _server()
    with log.open("a") as errors, replies:
        socket.send_fds(server, [request], [replies.fileno(), written, errors.fileno()])
    os.close(written)
    return Forked(["jotunheim", *arguments], stdout, reply)


@cache
def _server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process that forks, and the way to it; it ends when this end of the way is closed, with this process."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.support.forking", str(its.fileno())],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, ours


def main() -> None:
    """Be the process that forks. A child comes back from `_serve`, with its arguments, and becomes the command."""
    from jotunheim import drivers

    with drivers.only([]):
        for name in PRELOADED:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is None:
        return
    sys.argv = ["jotunheim", *arguments]
    from jotunheim.cli import main as jotunheim

    jotunheim()


def _serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request, and tell how the children end. Returns in a child its arguments, and None at the end."""
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    _tell_end(*key.data)
                    continue
                request, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 3)
                if not request:
                    return None
                arguments, environment, directory = json.loads(request)
                pid = os.fork()
                if pid == 0:
                    break
                reply = socket.socket(fileno=descriptors[0])
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                reply.send(str(pid).encode())
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, reply))
            else:
                continue
            break
    os.setsid()
    for target, descriptor in enumerate(descriptors[1:], 1):
        os.dup2(descriptor, target)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    found: list[str] = arguments
    return found


def _tell_end(pid: int, reply: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    with suppress(OSError), reply:
        reply.send(str(status).encode())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have ignored it
    main()
