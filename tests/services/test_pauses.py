"""How long the service leaves alone what it could not do."""

from datetime import timedelta

from jotunheim.data.job import JobStatus, JobType
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.servers import pauses
from jotunheim.settings import Settings
from tests.services.records import add_node, add_servers


def test_pauses_grow_to_a_day_until_something_succeeds(store: Settings) -> None:
    node = add_node()
    server, other = add_servers(node, 2)

    def rests(*ended: tuple[JobStatus, int], since_minutes: int) -> bool:
        """Whether the server has a pause so long after its last failure; `ended` says how its jobs ended, and how many minutes before."""
        Job.delete().execute()
        for status, minutes in ended:
            at = now() - timedelta(minutes=minutes + since_minutes)
            Job.create(
                type=JobType.CONFIGURE, server=server, node=node, status=status, max_attempts=1,
                requested_by="quota", request_id="r", finished_at=at,
            )  # fmt: skip
        found = pauses.resting("quota", [server.id, other.id])
        assert found <= {server.id}
        assert not pauses.resting("somebody else", [server.id])
        return bool(found)

    failed, cancelled, succeeded = JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.SUCCEEDED
    assert not rests(since_minutes=0)
    assert rests((failed, 0), since_minutes=9)
    assert not rests((failed, 0), since_minutes=11)
    assert rests((failed, 30), (cancelled, 0), since_minutes=19)
    assert not rests((failed, 30), (cancelled, 0), since_minutes=21)
    assert not rests((failed, 90), (succeeded, 60), (failed, 0), since_minutes=11)
    assert not rests((failed, 30), (succeeded, 0), since_minutes=1)
    assert pauses.after(9) == pauses.after(10**6) == timedelta(days=1)
