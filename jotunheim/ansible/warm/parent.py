"""The process that has Ansible loaded, and forks a child for every run.

    python -m jotunheim.ansible.warm.parent DIRECTORY WORKER_PID DRIVER…

DIRECTORY (0700) gets the socket; it is removed at the end. The parent tells which files it has loaded when it is
ready, as one line of JSON. SIGTERM, also sent by the kernel when the worker ends, makes it refuse new runs and end with
the last one. It only imports: no playbook, inventory, variable or plugin of a run is ever read here.
"""

import atexit
import fcntl
import json
import locale
import logging
import marshal
import multiprocessing.util
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jotunheim.ansible.warm import preload
from jotunheim.lifeline import die_with_parent

REQUEST_BYTES = 1024 * 1024
REQUEST_SECONDS = 5
# linux/fcntl.h: which signal tells that a descriptor is ready. Not in Python's fcntl before 3.12.
_F_SETSIG = 10


@dataclass(frozen=True)
class Request:
    """What a launcher hands over."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    umask: int
    ignored: list[int]
    descriptors: list[int]
    """Standard input, output and error, and the lifeline."""


def main() -> None:
    """Entry point. A child comes back from `_serve`, too, with what it shall do."""
    directory = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end(directory))
    # Not SIGKILL, as the directory has to go.
    die_with_parent(int(sys.argv[2]), signal.SIGTERM)
    os.umask(0o077)
    preload.load(drivers=sys.argv[3:])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(directory / "socket"))
    listener.listen(64)
    sys.stdout.write(json.dumps(preload.loaded_files()) + "\n")
    sys.stdout.flush()
    _to_null(1)
    request = _serve(listener)
    if request is None:
        _end(directory)
        return
    _become(request)
    from jotunheim.ansible.launcher import play

    play(request.arguments)


def _end(directory: Path) -> None:
    # Whoever found this process dead may have been faster.
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


def _to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


def _serve(listener: socket.socket) -> Request | None:
    """Fork a child for each request. Returns the request in the child, and None in the parent at its end."""
    woken, waker = os.pipe()
    for descriptor in (woken, waker):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while not ending or children:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 4096)
            _report(children)
            if listener.fileno() not in ready or ending:
                continue
            connection, _ = listener.accept()
            request = _receive(connection)
            if request is None:
                connection.close()
                continue
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                die_with_parent(parent)
                signal.set_wakeup_fd(-1)
                for descriptor in (woken, waker):
                    os.close(descriptor)
                for open_socket in (listener, connection, *children.values()):
                    open_socket.close()
                return request
            for descriptor in request.descriptors:
                os.close(descriptor)
            children[pid] = connection
            _tell_pid(connection, pid)
    return None


def _receive(connection: socket.socket) -> Request | None:
    connection.settimeout(REQUEST_SECONDS)
    try:
        _, peer, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        data, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 4)
        if peer != os.getuid() or len(descriptors) != 4:
            return None
        # From our own launcher, under our own user id; marshal, because the launcher has to be quick.
        arguments, environment, directory, umask, ignored = marshal.loads(data)  # noqa: S302
        return Request(arguments, environment, directory, umask, ignored, descriptors)
    except (OSError, ValueError, EOFError, TypeError):
        return None


def _tell_pid(connection: socket.socket, pid: int) -> None:
    """Give the launcher a handle of its child, for signals; no other process can take its place."""
    handle = os.pidfd_open(pid)
    with suppress(OSError):  # the launcher is gone, and so will be the child
        socket.send_fds(connection, [b"started"], [handle])
    os.close(handle)


def _report(children: dict[int, socket.socket]) -> None:
    """Tell launchers how their children ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        connection = children.pop(pid, None)
        if connection is not None:
            with suppress(OSError):
                connection.send(str(status).encode())
            connection.close()


def _become(request: Request) -> None:
    """In the child: all that a process of its own would have, and nothing of the parent's."""
    atexit._clear()  # the parent's: one would remove its temporary directory
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored in request.ignored:
        signal.signal(ignored, signal.SIG_IGN)
    os.setsid()
    *standard, lifeline = request.descriptors
    _die_with(lifeline)
    for target, descriptor in enumerate(standard):
        os.dup2(descriptor, target)
        os.close(descriptor)
    with suppress(OSError):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.reconfigure(line_buffering=os.isatty(descriptor))  # type: ignore[union-attr]
    os.umask(request.umask)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    locale.setlocale(locale.LC_ALL, "")
    tempfile.tempdir = None
    multiprocessing.current_process().authkey = os.urandom(32)
    atexit.register(logging.shutdown)
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]
    preload.configure()


def _die_with(lifeline: int) -> None:
    """Have the kernel kill this process when the launcher, the only one that holds the pipe's other end, ends."""
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    os.set_inheritable(lifeline, False)
    with suppress(BlockingIOError):  # it lives
        os.read(lifeline, 1)
        os._exit(1)  # it ended before


if __name__ == "__main__":
    main()
