"""The counters: what they refuse, what they forget, and what they take of memory."""

import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from jotunheim import settings
from jotunheim.exceptions.service import RateLimitExceededError, UnauthorizedError
from jotunheim.services import throttle
from jotunheim.services.throttle import Counters, Throttle, address_key

Made = Callable[..., Throttle]


def _throttle(**limits: str) -> Throttle:
    return Throttle(settings.load({f"JOTUNHEIM_{name.upper()}": value for name, value in limits.items()}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    offset = 0.0
    real = time.time

    def forward(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    monkeypatch.setattr(throttle.time, "time", lambda: real() + offset)
    return forward


def _guess(counting: Throttle, address: str | None, credential: str, *, is_right: bool = False) -> None:
    with counting.guessing(address, credential):
        if not is_right:
            raise UnauthorizedError("wrong")


def test_one_too_many_is_refused_until_the_window_ends(clock: Callable[[float], None]) -> None:
    counting = _throttle(login_rate_limit="3/minute")
    for _ in range(3):
        counting.hit("login_account", "a@example.com")
    with pytest.raises(RateLimitExceededError) as raised:
        counting.hit("login_account", "a@example.com")
    assert 1 <= (raised.value.retry_after_seconds or 0) <= 60
    assert (raised.value.code, raised.value.retryable) == ("rate_limit_exceeded", True)
    counting.hit("login_account", "b@example.com")
    counting.hit("login_address", "a@example.com")
    clock(61)
    counting.hit("login_account", "a@example.com")


def test_a_success_begins_anew() -> None:
    counting = _throttle(login_rate_limit="1/hour")
    counting.hit("login_account", "a")
    counting.forget("login_account", "a")
    counting.hit("login_account", "a")
    with pytest.raises(RateLimitExceededError):
        counting.assert_room("login_account", "a")


def test_an_empty_limit_is_none() -> None:
    counting = _throttle(login_rate_limit="", rate_limit="")
    for _ in range(1000):
        counting.hit("login_account", "a")
    assert counting.count("token", "t") is None


def test_threads_do_not_get_more_than_there_is() -> None:
    counting = _throttle(login_rate_limit="500/hour")
    passed: list[int] = []

    def ask() -> None:
        for _ in range(200):
            try:
                counting.hit("login_account", "a")
            except RateLimitExceededError:
                continue
            passed.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 500


def test_a_guesser_waits_and_neighbours_who_were_right_before_do_not(clock: Callable[[float], None]) -> None:
    counting = _throttle(auth_failure_limit="3/minute")
    _guess(counting, "192.0.2.1", "good", is_right=True)
    for number in range(3):
        with pytest.raises(UnauthorizedError):
            _guess(counting, "192.0.2.1", f"bad-{number}")
    with pytest.raises(RateLimitExceededError):
        _guess(counting, "192.0.2.1", "bad-4")
    with pytest.raises(RateLimitExceededError):
        _guess(counting, "192.0.2.1", "guessed", is_right=True)
    _guess(counting, "192.0.2.1", "good", is_right=True)
    _guess(counting, "192.0.2.2", "elsewhere", is_right=True)
    # Revoked: it counts as any other.
    with pytest.raises(UnauthorizedError):
        _guess(counting, "192.0.2.1", "good")
    with pytest.raises(RateLimitExceededError):
        _guess(counting, "192.0.2.1", "good")
    clock(61)
    _guess(counting, "192.0.2.1", "guessed", is_right=True)


def test_a_network_of_ipv6_is_one_address() -> None:
    assert (
        address_key("2001:db8:1:2::1")
        == address_key("2001:db8:1:2:ffff::9")
        != address_key("2001:db8:1:3::1")
    )
    assert address_key("192.0.2.1") != address_key("192.0.2.2")
    assert address_key(None) == "-"


def test_a_hundred_thousand_keys_take_bounded_memory_and_no_thread() -> None:
    counting = _throttle(login_address_rate_limit="60/hour", login_rate_limit="2/hour")
    threads = threading.active_count()
    tracemalloc.start()
    for number in range(2000):
        counting.hit("login_address", f"192.0.{number}")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 2000 * 600
    began = time.monotonic()
    for number in range(2000, 100_000):
        counting.hit("login_address", f"192.0.{number}")
        if number == 90_000:
            counting.hit("login_account", "victim")
    assert time.monotonic() - began < 60
    counters: Any = counting._own["failure"].storage
    assert len(counters) <= throttle.MAX_KEYS
    assert threading.active_count() == threads
    counting.hit("login_account", "victim")
    with pytest.raises(RateLimitExceededError):
        counting.hit("login_account", "victim")


def test_windows_that_are_over_make_room_first(clock: Callable[[float], None]) -> None:
    counters = Counters(max_keys=100)
    counters.incr("lasting", 3600)
    for number in range(99):
        counters.incr(f"short-{number}", 1)
    clock(2)
    counters.incr("new", 1)
    assert (len(counters), counters.get("lasting"), counters.get("short-1")) == (2, 1, 0)
    for number in range(1000):
        counters.incr(f"long-{number}", 3600)
    assert len(counters) <= 100
    assert counters.get("long-999") == 1
    counters.clear("long-999")
    assert counters.get("long-999") == 0
    assert counters.reset() <= 100
    assert len(counters) == 0


def test_credentials_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_KNOWN", 10)
    counting = _throttle()
    for number in range(100):
        _guess(counting, None, str(number), is_right=True)
    assert len(counting._known) == 10


def test_wrong_tokens_from_many_addresses_push_out_no_account_that_is_guessed_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "MAX_KEYS", 100)
    counting = _throttle(login_rate_limit="1/minute", auth_failure_limit="30/minute")
    counting.hit("login_account", "a@example.com")
    for number in range(500):
        counting.count("failure", f"2001:db8:{number:x}::/64")
    with pytest.raises(RateLimitExceededError):
        counting.hit("login_account", "a@example.com")
