"""The way into the supervisor: from a fresh process of the host to PID 1 of its own namespaces.

Started by `manager` as `python -I -c …` with a bare environment. Argument 1 is the file descriptor of the
control socket, argument 2 the process id of the sandbox. What goes wrong before the first message on the
control socket is told on standard error, in one line, with exit code 1.
"""

import codecs
import os
import socket
import sys
from typing import NoReturn

from jotunheim.sandbox.guests import idmap, linux, rootfs, supervisor

SPACES = linux.NEWNS | linux.NEWPID | linux.NEWUTS | linux.NEWIPC | linux.NEWNET


SUPERVISOR_SCORE = 500
"""When memory runs out: after a guest's processes (`spawn`), before those of the host."""
LAZY_CODECS = ("ascii", "idna", "latin-1", "unicode_escape", "utf-8")
"""Python looks for these when they are first needed; by then its files are out of sight."""


def main() -> None:
    """Never returns."""
    for codec in LAZY_CODECS:
        codecs.lookup(codec)
    control = socket.socket(fileno=int(sys.argv[1]))
    sandbox = int(sys.argv[2])
    linux.die_with_parent()
    if os.getppid() != sandbox:
        os._exit(1)
    linux.die_first(SUPERVISOR_SCORE)
    try:
        _enter_namespaces()
    except (OSError, idmap.NoIdsError) as error:
        _give_up(error)
    pid = os.fork()
    if pid:
        # Two steps: a process cannot enter a PID namespace, only its children can.
        control.close()
        os.waitpid(pid, 0)
        os._exit(0)
    linux.die_with_parent()
    try:
        host = rootfs.Host.look()
        rootfs.enter(host)
    except OSError as error:
        _give_up(error)
    linux.forget_terminal()
    os.setsid()
    linux.set_name("jotunheim-guests")
    supervisor.Supervisor(control, host).run()


def _give_up(error: Exception) -> NoReturn:
    why = error.strerror if isinstance(error, OSError) else None
    sys.stderr.write(f"{why or error}\n")
    sys.stderr.flush()
    os._exit(1)


def _enter_namespaces() -> None:
    """A user namespace, with ids from a helper that stays outside, and the others within it."""
    ids = idmap.find_range()
    go, done = os.pipe(), os.pipe()
    pid = os.getpid()
    helper = os.fork()
    if helper == 0:
        _write_maps(pid, ids, go, done)
    os.close(done[1])
    try:
        linux.unshare(linux.NEWUSER)
    except OSError as error:
        raise OSError(
            error.errno,
            f"this system lets nobody make user namespaces ({error.strerror}); "
            "see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
            "kernel.apparmor_restrict_unprivileged_userns, and a container's seccomp profile",
        ) from error
    finally:
        os.write(go[1], b"g")
    problem = _all(done[0])
    os.waitpid(helper, 0)
    for descriptor in (*go, done[0]):
        os.close(descriptor)
    if problem:
        raise idmap.NoIdsError(problem)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    linux.die_with_parent()
    linux.unshare(SPACES)


def _write_maps(pid: int, ids: idmap.Range, go: tuple[int, int], done: tuple[int, int]) -> None:
    """In the helper: never returns."""
    os.close(done[0])
    os.read(go[0], 1)
    try:
        idmap.write_maps(pid, ids)
    except (OSError, idmap.NoIdsError) as error:
        os.write(done[1], str(error).encode())
    os._exit(0)


def _all(descriptor: int) -> str:
    parts = b""
    while part := os.read(descriptor, 4096):
        parts += part
    return parts.decode()
