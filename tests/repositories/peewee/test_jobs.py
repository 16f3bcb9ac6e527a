"""Leases: one owner at a time, and late writes are refused."""

import pytest

from jotunheim.data.job import JobError, JobStatus
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.exceptions.repository import LeaseLostError
from jotunheim.repositories.peewee import turns
from jotunheim.repositories.peewee.jobs import Job, JobEvent

ERROR = JobError(code="x", message="m", retryable=True)


@pytest.fixture
def job() -> Job:
    """A queued job."""
    return Job.enqueue(type="server.build", max_attempts=3, requested_by="a", request_id="r")


def _claimed(job: Job, owner: str, seconds: float = 30) -> Job:
    claimed = Job.claim(job.id, owner, seconds)
    assert claimed is not None
    return claimed


def test_a_claimed_job_is_not_claimed_again_while_its_lease_lasts(job: Job) -> None:
    first = _claimed(job, "one")
    assert (first.status, first.attempt, first.fence) == (JobStatus.RUNNING, 1, 1)
    assert Job.claim(job.id, "two", 30) is None
    assert turns.some(10) == []


def test_an_expired_lease_passes_on_and_the_first_owners_writes_are_refused(job: Job) -> None:
    first = _claimed(job, "one", seconds=-1)
    assert turns.some(10) == [job.id]
    assert turns.some(10, held=[job.id]) == []
    second = _claimed(job, "two")
    assert (second.attempt, second.fence) == (2, 2)
    for late_write in (
        first.mark_succeeded,
        lambda: first.mark_failed(ERROR),
        first.hand_over,
        first.assert_lease,
        lambda: first.record_progress(50),
    ):
        with pytest.raises(LeaseLostError):
            late_write()
    assert Job.renew({job.id: first.fence}, 30) == {job.id}
    assert Job.renew({job.id: second.fence}, 30) == set()
    second.mark_succeeded()
    assert Job.get_by_id(job.id).status == JobStatus.SUCCEEDED


def test_a_job_that_was_handed_over_costs_no_attempt(job: Job) -> None:
    _claimed(job, "one").hand_over()
    again = _claimed(job, "two")
    assert (again.attempt, again.fence) == (1, 2)


def test_a_job_that_is_over_is_not_to_be_had(job: Job) -> None:
    _claimed(job, "one").mark_failed(ERROR)
    assert Job.claim(job.id, "two", 30) is None
    stored = Job.get_by_id(job.id)
    assert stored.error == ERROR.model_dump()
    assert stored.lease_owner is None


def test_only_a_failed_job_is_tried_again(job: Job) -> None:
    with pytest.raises(IllegalTransitionError):
        job.requeue()
    claimed = _claimed(job, "one")
    with pytest.raises(IllegalTransitionError):
        claimed.requeue()
    claimed.mark_failed(ERROR)
    claimed.requeue()
    assert turns.some(10) == [job.id]


def test_events_follow_the_life_of_a_job(job: Job) -> None:
    _claimed(job, "one").mark_succeeded()
    events = JobEvent.after(job.id, 0, 10)
    assert [event.type for event in events] == ["job.queued", "job.started", "job.finished"]
    assert JobEvent.after(job.id, events[1].seq, 10) == events[2:]
