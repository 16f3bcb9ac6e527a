"""What is counted between readings: all of it but what a process moved after it was last read, and nothing twice."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from jotunheim.repositories.proxmox.facts import Counters, counters
from jotunheim.services.traffic.counters import Moved, Process, Reading, moved

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
UNREAD = Reading(None, None, 0, 0, 0, None, None)


def reading(in_bytes: int, out_bytes: int = 0, *, pid: int = 7, uptime: int = 100, at: int = 0) -> Reading:
    """A reading so many seconds after noon, answered within a second."""
    asked = NOON + timedelta(seconds=at)
    return Reading(1, pid, uptime, in_bytes, out_bytes, asked, asked + timedelta(seconds=1))


def gained(before: Reading, current: Reading) -> tuple[int, int] | None:
    """What is counted of the second one, in and out, when both are there."""
    found = moved(before, current, max(before.read_at or NOON, current.read_at or NOON))
    return (found.in_bytes, found.out_bytes) if found else None


BEFORE = reading(1000, 500)


@pytest.mark.parametrize(
    ("current", "counted"),
    [
        pytest.param(reading(1600, 500, uptime=160, at=60), (600, 0), id="the same process goes on"),
        pytest.param(reading(9000, 900, uptime=7300, at=7200), (8000, 400), id="readings were missed"),
        pytest.param(reading(300, 40, pid=8, uptime=20, at=60), (300, 40), id="another process began"),
        pytest.param(
            reading(5000, 900, pid=8, uptime=50, at=60), (5000, 900), id="and moved more than before"
        ),
        pytest.param(reading(5000, 900, pid=8, uptime=5000, at=7200), (5000, 900), id="and has lived longer"),
        pytest.param(
            reading(300, 40, uptime=20, at=60), (300, 40), id="the node began anew, with the same pid"
        ),
        pytest.param(reading(300, 40, uptime=160, at=60), (300, 40), id="the device was replaced"),
        pytest.param(
            reading(1200, 40, uptime=160, at=60), (1200, 40), id="both counters begin with the device"
        ),
        pytest.param(replace(reading(300, uptime=20, at=60), node_id=2), (300, 0), id="it moved"),
        pytest.param(BEFORE, (0, 0), id="the same answer twice"),
        pytest.param(reading(800, 400, uptime=98, at=-2), None, id="an older answer"),
        pytest.param(reading(800, 400, uptime=100, at=0), None, id="an older answer of the same second"),
        pytest.param(reading(9000, 40, pid=3, uptime=9999, at=-5), None, id="of a process that is gone"),
        pytest.param(reading(1600, 500, uptime=160, at=-3600), (600, 0), id="our clock was set back"),
        pytest.param(reading(1600, 500, uptime=160, at=90_000), (600, 0), id="our clock was set forward"),
    ],
)
def test_what_is_counted_since_the_last_reading(current: Reading, counted: tuple[int, int] | None) -> None:
    assert gained(BEFORE, current) == counted


def test_all_that_a_new_server_has_moved_is_counted() -> None:
    assert gained(UNREAD, reading(300, 40)) == (300, 40)


ENDED = Process(1, 6, 5000)


@pytest.mark.parametrize(
    ("current", "counted"),
    [
        pytest.param(reading(9000, pid=6, uptime=5003, at=5), None, id="a clock that is ahead"),
        pytest.param(reading(9000, pid=6, uptime=30, at=60), Moved(9000, 0), id="the number is used again"),
        pytest.param(reading(9000, pid=6, uptime=9999, at=700), Moved(9000, 0), id="and that is seen late"),
    ],
)
def test_late_readings_of_the_process_before_are_left_out(current: Reading, counted: Moved | None) -> None:
    assert moved(BEFORE, current, NOON + timedelta(seconds=701), ENDED) == counted


def test_after_our_clock_was_set_back_another_process_is_counted_at_once() -> None:
    current = reading(300, 40, pid=8, uptime=20, at=-3600)
    assert moved(BEFORE, current, NOON - timedelta(seconds=3599)) == Moved(300, 40)


@dataclass
class Vm:
    """A VM whose traffic is known, and what is recorded of it.

    Attributes:
        unread: what the process has moved since it was last read.
        lost: the most that may be missing: what ended processes had moved unread, and what was moved around the replacement of a
            device until the next reading.
    """

    pid: int = 1
    uptime: int = 0
    counter: int = 0
    unread: int = 0
    true: int = 0
    lost: int = 0
    recorded: int = 0
    is_replaced: bool = False
    skew: int = 0
    elapsed: int = 0
    last: Reading = UNREAD
    answers: list[Reading] = field(default_factory=list)

    @property
    def clock(self) -> datetime:
        """Our clock, which may be wrong."""
        return NOON + timedelta(seconds=self.elapsed + self.skew)

    def move(self, amount: int) -> None:
        """A minute goes by in which it receives so much."""
        self.elapsed += 60
        self.uptime += 60
        self.counter += amount
        self.unread += amount
        self.true += amount

    def restart(self) -> None:
        """Its process ends, another one begins."""
        self.elapsed += 2
        self.pid, self.uptime, self.counter = self.pid + 1, 0, 0
        self.lost, self.unread, self.is_replaced = self.lost + self.unread, 0, False

    def replace_device(self) -> None:
        """Its network device is unplugged and plugged in again."""
        self.elapsed += 2
        self.uptime += 2
        self.counter, self.is_replaced = 0, True

    def ask(self) -> None:
        """The node is asked, and its answer counted."""
        self.elapsed += 1
        asked = self.clock
        answer = Reading(1, self.pid, self.uptime, self.counter, 0, asked, asked + timedelta(seconds=0.5))
        self.answers.append(answer)
        if self.record(answer):
            self.lost += self.unread if self.is_replaced else 0
            self.unread, self.is_replaced = 0, False

    def record(self, answer: Reading) -> bool:
        """Count an answer, unless it is older than what is known."""
        found = moved(self.last, answer, self.clock + timedelta(seconds=0.5))
        if found is None:
            return False
        self.recorded += found.in_bytes
        self.last = answer
        return True


CALM = ["ask", "restart", "replace_device"]
MOVES = st.tuples(st.just("move"), st.integers(0, 10**12))
LATE = st.tuples(st.sampled_from([*CALM, "late"]), st.just(0))
JUMPS = st.tuples(st.just("jump"), st.integers(-(10**7), 10**7))


def happen(events: list[tuple[str, int]]) -> Vm:
    """A VM after these events, and a last reading."""
    vm = Vm()
    for event, amount in events:
        match event:
            case "move":
                vm.move(amount)
            case "jump":
                vm.skew += amount
            case "late":
                for answer in vm.answers[-2:-1]:
                    vm.record(answer)  # by a worker that was slow
            case _:
                getattr(vm, event)()
    vm.ask()
    return vm


@hypothesis.settings(derandomize=True, deadline=None, database=None, max_examples=150)
@hypothesis.given(st.lists(MOVES | LATE, max_size=30))
def test_nothing_is_counted_twice_and_only_what_went_unread_is_missing(events: list[tuple[str, int]]) -> None:
    vm = happen(events)
    assert vm.true - vm.lost <= vm.recorded <= vm.true


@hypothesis.settings(derandomize=True, deadline=None, database=None, max_examples=150)
@hypothesis.given(st.lists(MOVES | JUMPS | st.tuples(st.sampled_from(CALM), st.just(0)), max_size=30))
def test_no_jump_of_our_clock_makes_or_loses_traffic(events: list[tuple[str, int]]) -> None:
    vm = happen(events)
    assert vm.true - vm.lost <= vm.recorded <= vm.true


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"status": "running", "pid": 7, "uptime": 60, "netin": 5, "netout": 6}, Counters(7, 60, 5, 6)),
        ({"status": "running", "pid": "7", "uptime": 60.9, "netin": "5"}, Counters(7, 60, 5, 0)),
        ({"status": "running", "pid": 10**12, "netin": 10**30, "netout": -5}, Counters(None, 0, 2**53, 0)),
        ({"status": "running", "netin": "many"}, None),
        ({"status": "running", "netin": float("inf")}, None),
        ({"status": "running", "uptime": []}, Counters(None, 0, 0, 0)),
        ({"status": "running", "uptime": [1]}, None),
        ({"status": "stopped", "netin": 5}, None),
    ],
)
def test_what_a_node_tells_is_read_or_left_alone(told: dict[str, Any], read: Counters | None) -> None:
    assert counters(told) == read
