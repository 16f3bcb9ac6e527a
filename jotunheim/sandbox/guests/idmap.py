"""User and group ids of the guests: a range that belongs to nobody else, and writing it into a namespace.

Root takes a range far above those of accounts. Anyone else needs one from the administrator: a line in
/etc/subuid and /etc/subgid, and the setuid programs `newuidmap` and `newgidmap`, which check it.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
COUNT = 65_536
"""Ids in a guest: 0 to 65535, as Debian has them."""
ROOTS_RANGE = 0x6A00_0000
"""Where root's range begins: above what `useradd` and container engines hand out."""
ENOUGH = 1_000
"""With fewer ids than this there is no room for a guest's accounts."""


class NoIdsError(RuntimeError):
    """There is no range of ids; the message says what is missing."""


@dataclass(frozen=True)
class Range:
    """The ids of the host that a guest's ids 0, 1, 2, … stand for."""

    uid: int
    gid: int
    count: int


def find_range() -> Range:
    """The range for this user.

    Raises:
        NoIdsError: there is none.
    """
    if os.geteuid() == 0:
        return _roots()
    name = pwd.getpwuid(os.geteuid()).pw_name
    for tool in ("newuidmap", "newgidmap"):
        if shutil.which(tool) is None:
            raise NoIdsError(f"the program {tool} is missing (Debian: uidmap)")
    ranges = {}
    for file in (SUBUID, SUBGID):
        found = _subordinate(file, name)
        if found is None:
            raise NoIdsError(f"{file} gives {name} no {COUNT} ids; add the line {name}:100000:{COUNT}")
        ranges[file] = found
    return Range(ranges[SUBUID], ranges[SUBGID], COUNT)


def _subordinate(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        who, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if who in (name, str(os.geteuid())) and first.isdigit() and count.isdigit() and int(count) >= COUNT:
            return int(first)
    return None


def _roots() -> Range:
    """Root's range, or the highest ids that this (container's) namespace has."""
    uid, gid = (_within(Path(f"/proc/self/{kind}_map")) for kind in ("uid", "gid"))
    count = min(uid[1], gid[1])
    if count < ENOUGH:
        raise NoIdsError(f"this user namespace has only {count} ids")
    return Range(uid[0], gid[0], count)


def _within(map_file: Path) -> tuple[int, int]:
    """First id and count: root's range if the namespace has it, else the end of its longest extent."""
    extents = [tuple(map(int, line.split())) for line in map_file.read_text().splitlines()]
    if any(first <= ROOTS_RANGE and first + count >= ROOTS_RANGE + COUNT for first, _, count in extents):
        return ROOTS_RANGE, COUNT
    first, _, count = max(extents, key=lambda extent: extent[2])
    taken = min(count, COUNT)
    return first + count - taken, taken


def write_maps(pid: int, ids: Range) -> None:
    """Give the user namespace of a process its ids; from the namespace outside of it.

    Raises:
        NoIdsError: it is refused.
    """
    try:
        if os.geteuid() == 0:
            Path(f"/proc/{pid}/uid_map").write_text(f"0 {ids.uid} {ids.count}\n")
            Path(f"/proc/{pid}/gid_map").write_text(f"0 {ids.gid} {ids.count}\n")
            return
    except OSError as error:
        raise NoIdsError(f"the kernel refuses a map of user ids ({error.strerror})") from error
    for tool, first in (("newuidmap", ids.uid), ("newgidmap", ids.gid)):
        command = [tool, str(pid), "0", str(first), str(ids.count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoIdsError(f"{tool} failed: {done.stderr.strip()}")
