"""What ansible-runner starts in place of `ansible-playbook` when Ansible is loaded already.

    python -I -S launcher.py SOCKET WORKER_PID ARGUMENTS…

Sends all that a process inherits to the parent, and then is the child's stand-in: it passes signals on, dies with the
worker, and takes the child with it, whose lifeline is a pipe that only this process holds open. It imports only what is
built into Python, as its start is part of every run. Should the parent be gone, it becomes the plain launcher.
"""

import fcntl
import marshal
import os
import signal
import socket
import sys
import termios
from contextlib import suppress

sys.path.insert(0, __file__.rpartition("/jotunheim/ansible/warm/")[0])

from jotunheim.lifeline import die_with_parent

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Entry point."""
    path, worker, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    die_with_parent(int(worker))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
    except OSError:
        _plainly(worker, arguments)
    ignored = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    lifeline, held = os.pipe()
    umask = os.umask(0)
    _give_terminal_up()
    directory = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than all the rest
    request = (arguments, dict(os.environ), directory, umask, [int(number) for number in ignored])
    try:
        socket.send_fds(connection, [marshal.dumps(request)], [0, 1, 2, lifeline])
        _, descriptors, _, _ = socket.recv_fds(connection, 16, 1)
    except OSError:
        descriptors = []
    os.close(lifeline)
    if descriptors:
        _pass_signals_on(descriptors[0], ignored)
        _end_as(connection.recv(16))
    os.close(held)
    os.kill(os.getpid(), signal.SIGKILL)  # the parent died, and the run with it


def _plainly(worker: str, arguments: list[str]) -> None:
    command = [sys.executable, "-P", "-m", "jotunheim.ansible.launcher", worker, *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


def _give_terminal_up() -> None:
    """The child leads a session of its own, which shall have the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what TIOCNOTTY sends to a leader
    with suppress(OSError):  # there is none
        fcntl.ioctl(0, termios.TIOCNOTTY)
    signal.signal(signal.SIGHUP, before)


def _pass_signals_on(child: int, ignored: list[signal.Signals]) -> None:
    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):  # it has ended; its status is under way
            signal.pidfd_send_signal(child, number)

    for number in _SIGNALS:
        if number not in ignored:
            signal.signal(number, pass_on)


def _end_as(told: bytes) -> None:
    """End as the child did; returns when the parent could not say how."""
    if not told:
        return
    status = int(told)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


main()
