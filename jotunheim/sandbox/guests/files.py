"""The guest's files as its init sees them: what the agent reads and writes, the release, who is logged in.

Whoever is root in the guest puts what they like in the place of any file: a pipe that nobody writes to, a link to
/dev/zero, a file with a lease. So init opens no file but with the functions here, which never wait and take no more
than so much.
"""

import errno
import os
import shlex
import socket
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
LONGEST = 4 * 1024 * 1024
"""Of a file that init reads for itself, such as /etc/passwd."""
MOST_SESSIONS = 1000
LONGEST_RELEASE = 65_536
NEVER_WAIT = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def content(path: Path, most: int = LONGEST) -> bytes:
    """A regular file of at most `most` bytes.

    Raises:
        OSError: it is no such file, or cannot be read.
    """
    descriptor = _regular(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def text(path: Path, most: int = LONGEST) -> str:
    """The same as a text that `put` writes back byte by byte."""
    return content(path, most).decode(errors="surrogateescape")


def put(path: Path, text: str, flags: int = os.O_TRUNC, mode: int = 0o644) -> None:
    """Write a regular file: anew, or as the flags of open(2) say.

    Raises:
        OSError: there is something else in its place, or it cannot be written.
    """
    with os.fdopen(_regular(path, os.O_WRONLY | os.O_CREAT | flags, mode), "wb") as file:
        file.write(text.encode(errors="surrogateescape"))


def _regular(path: Path, flags: int, mode: int = 0o644) -> int:
    descriptor = os.open(path, flags | NEVER_WAIT, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return descriptor


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
        descriptor = os.open(_name(path), os.O_RDONLY | NEVER_WAIT)
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
    flags = os.O_WRONLY | NEVER_WAIT
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
        found = content(Path("/etc/os-release"), LONGEST_RELEASE).decode(errors="replace")
        for line in found.splitlines():
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


def host_name() -> str:
    """What the guest calls itself; a name is any bytes."""
    return os.fsencode(socket.gethostname()).decode(errors="replace")


def logged_in() -> list[dict[str, Any]]:
    """Each user with a session, and when the first of these began."""
    users: dict[str, float] = {}
    try:
        records = content(Path("/run/utmp"), UTMP.size * MOST_SESSIONS)
    except OSError:
        return []
    for start in range(0, len(records) - UTMP.size + 1, UTMP.size):
        fields = UTMP.unpack_from(records, start)
        if fields[0] == USER_PROCESS:
            name = fields[4].rstrip(b"\0").decode("utf-8", "replace")
            began = fields[9] + fields[10] / 1_000_000
            users[name] = min(began, users.get(name, began))
    return [{"user": name, "login-time": began} for name, began in users.items()]
