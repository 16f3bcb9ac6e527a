"""Which failures are tried again by themselves, and when."""

import itertools

import pytest

from jotunheim.exceptions.repository import (
    ProxmoxLockedError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
)
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.jobs import retries

AWAY = ProxmoxUnavailableError("away")


def test_pauses_grow_and_end() -> None:
    pauses = [retries.pause(AWAY, attempt, 5, 2.0) for attempt in range(1, 6)]
    assert pauses[-1] is None
    given = [pause for pause in pauses if pause is not None]
    assert len(given) == 4
    assert all(later > 2 * earlier for earlier, later in itertools.pairwise(given))
    assert 60 < sum(given) < 300  # a node that is away for a minute costs nobody a job


def test_jobs_that_failed_together_come_back_apart() -> None:
    assert len({retries.pause(AWAY, 1, 5, 2.0) for _ in range(20)}) > 10


def test_a_job_is_tried_no_more_often_than_it_may_be() -> None:
    assert retries.pause(AWAY, 1, 1, 2.0) is None


@pytest.mark.parametrize(
    "error",
    [
        ProxmoxUnauthorizedError("token"),
        ServerDeploymentError("playbook_failed", "no"),
        ServerDeploymentError("node_unavailable", "for good", retryable=False),
        ServerDeploymentError("shutdown_timeout", "a person decides", retryable=True),
    ],
)
def test_what_a_person_must_mend_is_not_tried_again(error: Exception) -> None:
    assert retries.pause(error, 1, 5, 2.0) is None  # type: ignore[arg-type]


def test_automatic_attempts_can_be_switched_off() -> None:
    assert retries.pause(ProxmoxLockedError("locked"), 1, 5, 0) is None
