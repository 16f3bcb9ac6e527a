"""System calls that a guest must not make: those that lead past its namespaces, or to memory without a bound.

A guest's root has all rights in its own namespaces, but not everything in the kernel knows about namespaces:
a few kinds of socket reach the hypervisor or the host (AF_VSOCK), keyrings come along from the process that started
the sandbox, and io_uring opens sockets without asking. And who may mount may mount a file system in memory of any
size. Bind mounts and unmounting stay allowed. A kernel's second system call table (32-bit programs) is closed: the
filter would not hold there.
"""

import ctypes
import errno
import os
from dataclasses import dataclass

from jotunheim.sandbox.guests import linux

PR_SET_SECCOMP, MODE_FILTER = 22, 2
ALLOW, REFUSE = 0x7FFF_0000, 0x0005_0000
LOAD, EQUAL, AT_LEAST, ANY_OF, RETURN, MASK = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in the kernel's `struct seccomp_data`; arguments take eight bytes each."""
X32 = 0x4000_0000
FAMILIES = (1, 2, 10, 16, 17)
"""Unix, IPv4, IPv6, netlink, packet: those that are bound to a network namespace."""
MS_MOVE, MS_PROPAGATION = 0x2000, 0x1E_0000
MAGIC, MAGIC_MASK = 0xC0ED_0000, 0xFFFF_0000
"""The upper half of mount flags as programs of the nineties set it: the kernel takes it for no flags then."""
NEW_EVERYWHERE = (425, 430, 431, 432, 433)
"""io_uring_setup, fsopen, fsconfig, fsmount, fspick; system calls of that age have one number everywhere."""


@dataclass(frozen=True)
class Architecture:
    """The numbers of one kind of machine."""

    audit: int
    mount: int
    socket: int
    refused: tuple[int, ...]
    """syslog, add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd."""


GENERIC = (116, 217, 218, 219, 241, 280, 282)
ARCHITECTURES = {
    "x86_64": Architecture(0xC000_003E, 165, 41, (103, 248, 249, 250, 298, 321, 323)),
    "aarch64": Architecture(0xC000_00B7, 40, 198, GENERIC),
    "riscv64": Architecture(0xC000_00F3, 40, 198, GENERIC),
}

Instruction = tuple[int, int, int, int]
"""Code, jumps if true and if false, operand."""


class _Filter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filters", ctypes.POINTER(_Filter)))


def restrict() -> None:
    """Put the filter on this process and all that come from it. On a machine that has no table here, do nothing.

    Raises:
        OSError: the kernel takes no filter.
    """
    machine = ARCHITECTURES.get(os.uname().machine)
    if machine is None:
        return
    code = program(machine)
    filters = (_Filter * len(code))(*(_Filter(*instruction) for instruction in code))
    whole = _Program(len(code), ctypes.cast(filters, ctypes.POINTER(_Filter)))
    linux.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(whole), "SECCOMP")


def program(machine: Architecture) -> list[Instruction]:
    """The filter as the kernel's classic BPF instructions."""
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, machine.audit),
        _refuse(errno.ENOSYS),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        _refuse(errno.ENOSYS),
    ]
    for numbers, error in ((machine.refused, errno.EPERM), (NEW_EVERYWHERE, errno.ENOSYS)):
        for number in numbers:
            code += [(EQUAL, 0, 1, number), _refuse(error)]
    sockets, mounts = _sockets(), _mounts()
    code += [(EQUAL, 0, len(sockets), machine.socket), *sockets]
    code += [(EQUAL, 0, len(mounts), machine.mount), *mounts]
    return [*code, (RETURN, 0, 0, ALLOW)]


def _refuse(error: int) -> Instruction:
    return (RETURN, 0, 0, REFUSE | error)


def _sockets() -> list[Instruction]:
    code: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS)]
    for family in FAMILIES:
        code += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    return [*code, _refuse(errno.EAFNOSUPPORT)]


def _mounts() -> list[Instruction]:
    """In the order in which the kernel looks at the flags (fourth argument)."""
    allow, refuse = (RETURN, 0, 0, ALLOW), _refuse(errno.EPERM)
    flags = (LOAD, 0, 0, ARGUMENTS + 3 * 8)
    return [
        flags,
        (ANY_OF, 0, 1, linux.MS_BIND), allow,
        (ANY_OF, 0, 1, linux.MS_REMOUNT), refuse,
        (ANY_OF, 0, 1, MS_MOVE), allow,
        (MASK, 0, 0, MAGIC_MASK),
        (EQUAL, 0, 1, MAGIC), refuse,
        (ANY_OF, 0, 1, MS_PROPAGATION), allow,
        refuse,
    ]  # fmt: skip
