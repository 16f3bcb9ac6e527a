"""How often somebody may ask: counters by token, by account and by address, for all kinds of credentials.

The library `limits` parses what the settings say and counts in windows that begin with the first request. Where the queue is
on Redis the counters are there too, and all API processes share them. When Redis is away, each process counts for itself
until it is back: nobody is refused for it, and guessing stays slow.
"""

import hashlib
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from limits import RateLimitItem, parse
from limits.storage import RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter

from jotunheim.exceptions.service import RateLimitExceededError, UnauthorizedError
from jotunheim.settings import Settings

Kind = Literal["token", "failure", "login_account", "login_address"]
"""What is counted: requests with a token, failed authentications of an address, logins of an account and from an address."""

MAX_KEYS = 50_000
"""How many counters of a kind a process keeps; those that have been counting for longest make room."""
MAX_KNOWN = 10_000
"""How many credentials a process remembers as good."""
AWAY_SECONDS = 5.0
"""How long Redis is left alone once it did not answer."""
REDIS_TIMEOUT_SECONDS = 0.5
_IPV6_NETWORK = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """How much of a limit is left."""

    limit: int
    remaining: int
    reset_seconds: int
    """Until when; then all of it is to be had again."""
    is_exceeded: bool

    def assert_within(self) -> None:
        """Raises RateLimitExceededError when it is exceeded."""
        if self.is_exceeded:
            raise RateLimitExceededError(max(1, self.reset_seconds))


class Throttle:
    """The counters of one process, or those that it shares.

    Args:
        settings: its limits and its queue.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits: dict[Kind, RateLimitItem | None] = {
            "token": _parsed(settings.rate_limit),
            "failure": _parsed(settings.auth_failure_limit),
            "login_account": _parsed(settings.login_rate_limit),
            "login_address": _parsed(settings.login_address_rate_limit),
        }
        # Each kind has counters of its own: cheap wrong tokens from many addresses push out no account that is guessed at.
        self._own = {kind: FixedWindowRateLimiter(Counters()) for kind in self._limits}
        self._shared = _shared(settings.queue)
        self._away_until = 0.0
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def hit(self, kind: Kind, key: str) -> None:
        """Count one.

        Args:
            key: whose: an account, an address (`address_key`), a credential. It is kept as a hash.

        Raises:
            RateLimitExceededError: it was one too many.
        """
        standing = self.count(kind, key)
        if standing is not None:
            standing.assert_within()

    def count(self, kind: Kind, key: str) -> Standing | None:
        """Count one, and tell how much is left; None: this kind has no limit."""
        return self._ask(kind, key, cost=1)

    def assert_room(self, kind: Kind, key: str) -> None:
        """Raises RateLimitExceededError when one more would be too many; counts nothing."""
        standing = self._ask(kind, key, cost=0)
        if standing is not None:
            standing.assert_within()

    def forget(self, kind: Kind, key: str) -> None:
        """Begin anew, as after a login that succeeded."""
        limit = self._limits[kind]
        if limit is not None:
            self._try(kind, lambda limiter: limiter.clear(limit, kind, _hashed(key)))

    @contextmanager
    def guessing(self, address: str | None, credential: str) -> Iterator[None]:
        """A part that raises UnauthorizedError when a credential is wrong; an address that does it too often has to wait.

        A credential that was right before is looked at in any case: nobody is locked out by a neighbour who guesses.

        Raises:
            RateLimitExceededError: too many were wrong from this address.
        """
        key, known_as = address_key(address), _hashed(credential)
        with self._lock:
            is_known = known_as in self._known
        if not is_known:
            self.assert_room("failure", key)
        try:
            yield
        except UnauthorizedError:
            with self._lock:
                self._known.pop(known_as, None)
            self.count("failure", key)
            raise
        with self._lock:
            self._known[known_as] = None
            self._known.move_to_end(known_as)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)

    def _ask(self, kind: Kind, key: str, cost: int) -> Standing | None:
        limit = self._limits[kind]
        if limit is None:
            return None
        key = _hashed(key)

        def ask(limiter: FixedWindowRateLimiter) -> Standing:
            is_within = limiter.hit(limit, kind, key) if cost else limiter.test(limit, kind, key)
            resets_at, remaining = limiter.get_window_stats(limit, kind, key)
            seconds = math.ceil(resets_at - time.time())
            return Standing(limit.amount, remaining, min(max(seconds, 0), limit.get_expiry()), not is_within)

        found: Standing = self._try(kind, ask)
        return found

    def _try(self, kind: Kind, ask: Any) -> Any:
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return ask(self._shared)
            except self._shared.storage.base_exceptions as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                # Not its text: it may name the URL.
                log.warning("Redis does not count requests (%s); this process does.", type(error).__name__)
        return ask(self._own[kind])


class Counters(Storage):
    """The counters of one kind in one process, for `limits`.

    Its own `MemoryStorage` has no bound, and starts a thread at almost every request to look through all keys for old ones.
    """

    STORAGE_SCHEME = None

    def __init__(self, max_keys: int | None = None) -> None:
        super().__init__()
        self._max_keys = MAX_KEYS if max_keys is None else max_keys
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """How many, and when that is over; the oldest window first."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What its failures are; it has none."""
        return MemoryError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, in a window of `expiry` seconds when there is none; returns the count."""
        now = time.time()
        with self._lock:
            count, ends_at = self._counts.get(key, (0, 0.0))
            if ends_at <= now:
                self._counts.pop(key, None)
                self._make_room(now)
                count, ends_at = 0, now + expiry
            self._counts[key] = count + amount, ends_at
            return count + amount

    def get(self, key: str) -> int:
        """The count of a key."""
        count, ends_at = self._counts.get(key, (0, 0.0))
        return count if ends_at > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """When the window of a key ends, in seconds since 1970."""
        return max(self._counts.get(key, (0, 0.0))[1], time.time())

    def check(self) -> bool:
        """Whether it can count."""
        return True

    def reset(self) -> int:
        """Forget all; returns how many."""
        with self._lock:
            forgotten = len(self._counts)
            self._counts.clear()
        return forgotten

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._counts.pop(key, None)

    def _make_room(self, now: float) -> None:
        if len(self._counts) < self._max_keys:
            return
        for key in [key for key, (_, ends_at) in self._counts.items() if ends_at <= now]:
            del self._counts[key]
        # All at once, not one each time: looking through them takes time.
        while len(self._counts) > self._max_keys * 9 // 10:
            self._counts.popitem(last=False)


def address_key(address: str | None) -> str:
    """Under which key an address is counted: an IPv4 address, or the /64 of an IPv6 one, which is one customer's at least."""
    if address is None:
        return "-"
    parsed = ip_address(address)
    return address if parsed.version == 4 else str(ip_network((parsed, _IPV6_NETWORK), strict=False))


def _parsed(limit: str) -> RateLimitItem | None:
    return parse(limit) if limit else None


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _shared(queue: str) -> FixedWindowRateLimiter | None:
    if not queue.startswith(("redis://", "rediss://", "unix://")):
        return None
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "socket_timeout": REDIS_TIMEOUT_SECONDS,
        "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "key_prefix": "jotunheim",
    }
    url = f"redis+{queue}" if queue.startswith("unix://") else queue
    return FixedWindowRateLimiter(RedisStorage(url, **options))
