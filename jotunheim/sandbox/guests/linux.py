"""The system calls that Python does not offer: namespaces, mounts, process attributes."""

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

NEWNS = 0x0002_0000
NEWUTS = 0x0400_0000
NEWIPC = 0x0800_0000
NEWUSER = 0x1000_0000
NEWPID = 0x2000_0000
NEWNET = 0x4000_0000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_RELATIME = 1 << 21
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_ARG_START, _ARG_END = 45, 46
"""Where the command line lies in memory: positions in /proc/PID/stat after the name."""
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the parent's namespaces."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags))
    _check(_libc.mount(*arguments, data.encode() or None), f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Take a mount out of sight at once; it goes when nobody uses it any more."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2): `new` becomes the root, the old one is found at `old`."""
    _check(_libc.syscall(_pivot_root_number(), new.encode(), old.encode()), f"pivot_root {new}")


def _pivot_root_number() -> int:
    numbers = {
        "x86_64": 155,
        "aarch64": 41,
        "riscv64": 41,
        "i686": 217,
        "armv7l": 218,
        "ppc64le": 203,
        "s390x": 217,
    }
    machine = os.uname().machine
    if machine not in numbers:
        raise OSError(f"pivot_root: its number on {machine} is not known")
    return numbers[machine]


def die_with_parent(signal_number: int = 9) -> None:
    """Have the kernel end this process when its parent ends. A change of user ids afterwards undoes it."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PDEATHSIG")


def prctl(option: int, first: int, second: int, what: str) -> None:
    """prctl(2) with two arguments."""
    _check(_libc.prctl(option, ctypes.c_ulong(first), ctypes.c_ulong(second), 0, 0), f"prctl {what}")


def set_dumpable(*, dumpable: bool) -> None:
    """Whether others may trace this process and look into its /proc entry."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0), "prctl DUMPABLE")


def die_first(score: int) -> None:
    """Have the kernel end this process before others (up to 1000) when memory runs out; also what it starts."""
    with suppress(OSError):  # a container may keep /proc read-only
        Path("/proc/self/oom_score_adj").write_text(str(score))


def set_name(name: str) -> None:
    """What `ps` calls this process: its name, and its command line, which holds paths of the host."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl NAME")
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, last = (int(fields[number]) for number in (_ARG_START, _ARG_END))
    ctypes.memset(first, 0, last - first)
    ctypes.memmove(first, name.encode(), min(len(name), last - first - 1))


def link_up(interface: str) -> None:
    """Bring a network interface up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", interface.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | _IFF_UP))


def forget_terminal() -> None:
    """Let go of whatever standard input and output were: of the terminal in which the sandbox runs, say."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
