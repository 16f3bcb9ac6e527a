"""The guest agent's look at the guest's files: reading, writing, the release, who is logged in."""

import os
import shlex
import stat
import struct
from pathlib import Path
from typing import Any

from jotunheim.sandbox.guests.messages import AgentError

MOST_READ = 16 * 1024 * 1024
CHUNK = 1024 * 1024
NEW_FILE_MODE = 0o666
"""qemu-ga gives new files these permissions, whatever its umask."""
UTMP = struct.Struct("hi32s4s32s256shhiii4i20s")
USER_PROCESS = 7


def _name(path: str) -> bytes:
    """A path as the C library takes it."""
    return path.partition("\0")[0].encode("utf-8", "surrogateescape")


def _refused(path: str, mode: str, error: OSError) -> AgentError:
    return AgentError(f"failed to open file '{path}' (mode: '{mode}'): {error.strerror}")


def read(path: str) -> tuple[dict[str, Any], bytes]:
    """Up to 16 MiB of a file, in chunks of 1 MiB as Proxmox asks for them.

    Raises:
        AgentError: it cannot be opened or read.
    """
    try:
        descriptor = os.open(_name(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(path, "r", error) from error
    data, ended = bytearray(), False
    try:
        while len(data) < MOST_READ and not ended:
            part = os.read(descriptor, min(CHUNK, MOST_READ - len(data)))
            data += part
            ended = not part
    except BlockingIOError:
        ended = True
    except OSError as error:
        raise AgentError(f"failed to read file: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return {"truncated": not ended}, bytes(data)


def write(path: str, data: bytes) -> None:
    """Write a file anew.

    Raises:
        AgentError: it cannot be opened or written.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    name = _name(path)
    try:
        try:
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, NEW_FILE_MODE)
            os.fchmod(descriptor, NEW_FILE_MODE)
        except FileExistsError:
            descriptor = os.open(name, flags | os.O_TRUNC)
    except OSError as error:
        raise _refused(path, "wb", error) from error
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError as error:
        raise AgentError(f"failed to write to file: {error.strerror}") from error
    finally:
        os.close(descriptor)


def os_info() -> dict[str, str]:
    """What the guest says about its system: its /etc/os-release, and the kernel that it runs on."""
    release: dict[str, str] = {}
    try:
        for line in Path("/etc/os-release").read_text(errors="replace").splitlines():
            name, equals, value = line.partition("=")
            if equals:
                release[name] = " ".join(shlex.split(value))
    except (OSError, ValueError):
        release = {}
    kernel = os.uname()
    info = {"kernel-release": kernel.release, "kernel-version": kernel.version, "machine": kernel.machine}
    for key, name in (
        ("id", "ID"), ("name", "NAME"), ("pretty-name", "PRETTY_NAME"), ("version", "VERSION"),
        ("version-id", "VERSION_ID"), ("variant", "VARIANT"), ("variant-id", "VARIANT_ID"),
    ):  # fmt: skip
        if name in release:
            info[key] = release[name]
    return info


def logged_in() -> list[dict[str, Any]]:
    """Each user with a session, and when the first of these began."""
    users: dict[str, float] = {}
    try:
        with Path("/run/utmp").open("rb") as file:
            records = file.read(UTMP.size * 1000) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return []
    for start in range(0, len(records) - UTMP.size + 1, UTMP.size):
        fields = UTMP.unpack_from(records, start)
        if fields[0] == USER_PROCESS:
            name = fields[4].rstrip(b"\0").decode("utf-8", "replace")
            began = fields[9] + fields[10] / 1_000_000
            users[name] = min(began, users.get(name, began))
    return [{"user": name, "login-time": began} for name, began in users.items()]
