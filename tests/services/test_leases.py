"""A worker that has many jobs renews all of their leases at once, in either database."""

import uuid
from datetime import timedelta

from jotunheim.data.job import JobType
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.settings import Settings

MANY = 300


def test_many_leases_are_renewed_at_once(either_store: Settings) -> None:
    claimed = []
    for _ in range(MANY):
        job = Job.enqueue(type=JobType.POWER, max_attempts=3, requested_by="a", request_id="r")
        claimed.append(Job.claim(job.id, "worker", 1))
    leases = {job.id: job.fence for job in claimed if job is not None}
    assert len(leases) == MANY
    somebody_elses, over = list(leases)[:2]
    leases[somebody_elses] += 1
    Job.get_by_id(over).mark_succeeded()
    gone = uuid.uuid4()
    assert Job.renew({**leases, gone: 1}, 3600) == {somebody_elses, over, gone}
    late = now() + timedelta(minutes=30)
    assert Job.select().where(Job.lease_expires_at > late).count() == MANY - 2
