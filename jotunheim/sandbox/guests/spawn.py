"""Starting a guest: a process in namespaces of its own, inside those of the supervisor.

Three steps between the supervisor and the process that it forks: the child has left the user namespace and
says so; the supervisor, which may do that, gives it its ids; the child forks once more, for PID 1 of the new PID
namespace, tells that one's process id and ends.

A namespace of user ids counts the processes of whoever made it: the child takes a user id of its own first,
so that the limit holds for each guest as a whole, whatever ids it uses inside.
"""

import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jotunheim.sandbox.guests import linux

PROCESSES = 400
"""Of one guest: enough for what one configures in it, and a fork bomb ends there."""
OPEN_FILES = 4096
FIRST_TO_DIE = 1000
FIRST_CREATOR, CREATORS = 20_000, 40_000
SPACES = linux.NEWUSER | linux.NEWNS | linux.NEWPID | linux.NEWUTS | linux.NEWIPC | linux.NEWNET
LEFT, MAPPED = b"left", b"mapped"


@dataclass
class Birth:
    """A guest that is being started, as the supervisor sees it."""

    child: int
    channel: socket.socket

    def advance(self) -> int | None:
        """Take the next step. Returns the process id of the guest's init when it is there.

        Raises:
            OSError: the guest cannot be started.
        """
        text = self.channel.recv(4096)
        if text == LEFT:
            for kind in ("uid", "gid"):
                ids = Path("/proc/self", f"{kind}_map").read_text().split()[2]
                Path(f"/proc/{self.child}", f"{kind}_map").write_text(f"0 0 {ids}\n")
            self.channel.send(MAPPED)
            return None
        if text.isdigit():
            return int(text)
        raise OSError(text.decode() or "the guest's first process has died")


def begin(slot: int, main: Callable[[], None]) -> Birth:
    """Fork a guest whose init runs `main`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        try:
            _become_guest(slot, theirs)
        except OSError as error:
            theirs.send(str(error).encode())
            os._exit(1)
        pid = os.fork()
        if pid:
            theirs.send(str(pid).encode())
            os._exit(0)
        theirs.close()
        try:
            main()
        finally:
            os._exit(1)
    theirs.close()
    return Birth(child, ours)


def _become_guest(slot: int, channel: socket.socket) -> None:
    creator = min(FIRST_CREATOR + slot % CREATORS, _last_id())
    os.setresgid(creator, creator, creator)
    os.setresuid(creator, creator, creator)
    linux.set_dumpable(dumpable=True)  # or its /proc entry would not belong to it
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    linux.die_first(FIRST_TO_DIE)
    linux.unshare(SPACES)
    channel.send(LEFT)
    if channel.recv(64) != MAPPED:
        raise OSError("the supervisor gives no user ids")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _last_id() -> int:
    return int(Path("/proc/self/uid_map").read_text().split()[2]) - 1
