"""Keeps outsiders from filling the disk: how many refusals of theirs are recorded one by one."""

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

PER_ADDRESS = 10
"""Entries an address and minute; of IPv6 all addresses of a /64 are one."""
PER_MINUTE = 30
"""Entries of all addresses a minute."""
_MINUTE = 60.0


@dataclass(frozen=True)
class Surplus:
    """What came beyond that.

    Attributes:
        address: None: of several, when there were too many in all.
    """

    address: str | None
    count: int


class Floods:
    """Counts refusals by address in minutes; in the memory of the process, which is bounded as well."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0.0
        self._admitted: dict[str | None, int] = {}
        self._surplus: dict[str | None, int] = {}

    def admits(self, address: str | None) -> bool:
        """Whether a refusal gets an entry of its own; else it is counted."""
        where = _network(address)
        with self._lock:
            entries = self._admitted.get(where, 0)
            if entries < PER_ADDRESS and sum(self._admitted.values()) < PER_MINUTE:
                self._admitted[where] = entries + 1
                return True
            counter = where if entries else None  # so that there are never more counters than entries
            self._surplus[counter] = self._surplus.get(counter, 0) + 1
            return False

    def over(self, *, also_now: bool = False) -> list[Surplus]:
        """What came beyond in the minute that has ended, told once.

        Args:
            also_now: the present minute ends now.
        """
        with self._lock:
            if not also_now and self._clock() - self._minute < _MINUTE:
                return []
            self._minute = self._clock()
            counted, self._surplus, self._admitted = self._surplus, {}, {}
        return [Surplus(address, count) for address, count in counted.items()]


def _network(address: str | None) -> str | None:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
