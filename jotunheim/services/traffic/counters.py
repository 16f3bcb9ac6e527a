"""How much a server has moved between two readings of its counters.

The counters are those of the VM's process: they begin at 0 whenever one starts, and go with it. Nothing here rests on the
clock of the node, and on ours only to tell which of two answers about different processes is the later one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

CLOCKS_DIFFER = timedelta(minutes=10)
"""How far the clocks of workers are apart at most, so that nothing is counted twice because of them."""


@dataclass(frozen=True)
class Reading:
    """What a node told of a running VM.

    Attributes:
        node_id: the node that has the process; None: nothing was read yet.
        pid: of the process, as far as it is known.
        uptime_seconds: how long the process has run.
        in_bytes, out_bytes: what it has counted since it began.
        asked_at: when the node was asked.
        read_at: when the answer was there.
    """

    node_id: int | None
    pid: int | None
    uptime_seconds: int
    in_bytes: int
    out_bytes: int
    asked_at: datetime | None
    read_at: datetime | None


@dataclass(frozen=True)
class Process:
    """Where a process ran, its number there, and how long it had run when it was last read."""

    node_id: int | None
    pid: int | None
    uptime_seconds: int


@dataclass(frozen=True)
class Moved:
    """Bytes that a server has received and sent."""

    in_bytes: int
    out_bytes: int


def grown(before: Reading, current: Reading) -> Moved | None:
    """What the same process has moved since the last reading; None: it is another one, an older reading, or counts anew."""
    if (
        (before.node_id, before.pid) == (current.node_id, current.pid)
        and current.uptime_seconds >= before.uptime_seconds
        and current.in_bytes >= before.in_bytes
        and current.out_bytes >= before.out_bytes
    ):
        return Moved(current.in_bytes - before.in_bytes, current.out_bytes - before.out_bytes)
    return None


def moved(before: Reading, current: Reading, clock: datetime, ended: Process | None = None) -> Moved | None:
    """What a server has moved since the last reading; None: this one may be older, and is not to be counted.

    A process that is known goes on from what it had counted, however long ago it was read. Any other one has counted all that it
    has since then. So has a known one that counts less than before: its network device was replaced.

    Args:
        clock: the time now; a reading of later than that is from before our clock was set back.
        ended: the process before the known one.
    """
    since = grown(before, current)
    if since is not None:
        return since
    if _may_be_older(before, current, clock) or _is_of(ended, before, current):
        return None
    return Moved(current.in_bytes, current.out_bytes)


def _may_be_older(before: Reading, current: Reading, clock: datetime) -> bool:
    """Whether the node was asked before the answer was there that we know already."""
    if before.read_at is None or current.asked_at is None or before.read_at > clock:
        return False
    return current.asked_at < before.read_at


def _is_of(ended: Process | None, before: Reading, current: Reading) -> bool:
    """Whether a reading is of a process that has ended, told by a worker whose clock is ahead.

    After a while it is one that got the same number.
    """
    if ended is None or before.read_at is None or current.asked_at is None:
        return False
    is_same = (ended.node_id, ended.pid) == (current.node_id, current.pid)
    is_soon = current.asked_at - before.read_at < CLOCKS_DIFFER
    return is_same and current.uptime_seconds >= ended.uptime_seconds and is_soon
