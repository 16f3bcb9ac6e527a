"""When servers are looked at again, and when a sweep is due."""

import json
from datetime import timedelta

import pytest

from jotunheim.data.server.drift import Difference, DriftStatus
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.drifts import Compared, Drift, DriftSweep
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookEvent
from jotunheim.services.servers import differences, drift
from jotunheim.settings import Settings

HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Server:
    """A server that is ready."""
    node = Node.create(
        name="n", location=Location.create(name="l", short_code="l"), host="h", port=1, token_id="t", vm_storage="s",
        backup_storage="s", iso_storage="s", bridge="b", memory_overcommit=1, disk_overcommit=1, max_concurrent_clones=1,
    )  # fmt: skip
    made: Server = Server.create(
        vmid=1, name="s", hostname="s", owner=User.create(email="o@x", name="o", role="client"), node=node, cpu=1,
        memory_bytes=1, status="ready", force_insert=True,
    )  # fmt: skip
    return made


def drifted(server: Server) -> Drift:
    """A server that was found to differ."""
    return Drift.record(server, [{"setting": "cores"}], [], {}, identified=True, digest="d")


def worked(server: Server, **columns: object) -> Job:
    """A job that has worked on a server."""
    given = {"status": "succeeded", "started_at": now(), "finished_at": now(), **columns}
    job: Job = Job.create(
        type="server.power", server=server, server_uuid=server.id, node=server.node, max_attempts=1, requested_by="o",
        request_id="r", **given,
    )  # fmt: skip
    return job


def again(server: Server) -> bool:
    """Whether a server is to be looked at again."""
    return Drift.to_be_looked_at_again(now()) == {server.node_id: [server.id]}


def test_a_drifted_server_is_looked_at_again_when_a_job_has_worked_on_it(server: Server) -> None:
    worked(server)
    drifted(server)
    assert not again(server)
    worked(server, check_only=True)
    worked(server, finished_at=now() + HOUR)  # a clock that ran ahead
    assert not again(server)
    worked(server)
    assert again(server)
    live = worked(server, status="running", finished_at=None)
    assert not again(server)
    live.delete_instance()
    drifted(server)
    assert not again(server)


def test_one_that_could_not_be_looked_at_is_tried_less_and_less_often(server: Server) -> None:
    first = drifted(server)
    pauses = []
    for _ in range(9):
        Drift.record_failure(server, "node_unavailable", "It does not answer.")
        row = Drift.get(Drift.server == server)
        pauses.append(round((row.again_at - row.checked_at).total_seconds() / 60))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (row.status, row.differences, row.found_at) == (
        DriftStatus.UNKNOWN,
        first.differences,
        first.found_at,
    )
    assert not again(server)
    Drift.update(again_at=now()).execute()
    assert again(server)


def test_the_version_is_of_what_was_found(server: Server) -> None:
    before = drifted(server).version
    assert drifted(server).version == before
    assert Drift.record(server, [{"setting": "tags"}], [], {}, identified=True, digest="d").version != before
    assert Drift.record(server, [{"setting": "cores"}], [], {}, identified=True, digest="e").version != before


def test_a_sweep_is_due_once_in_its_period_whatever_the_clock_did(server: Server) -> None:
    assert [node.id for node in DriftSweep.claim_due(HOUR)] == [server.node_id]
    assert DriftSweep.claim_due(HOUR) == []
    DriftSweep.update(asked_at=now() + HOUR).execute()
    assert len(DriftSweep.claim_due(HOUR)) == 1
    Server.delete().execute()
    DriftSweep.update(asked_at=None).execute()
    assert DriftSweep.claim_due(HOUR) == []


def test_a_sweep_that_nobody_gets_to_is_asked_for_once(server: Server) -> None:
    settings = Settings(drift_sweep_seconds=60)
    assert len(drift.sweep(settings)) == 1
    DriftSweep.update(asked_at=None).execute()
    assert drift.sweep(settings) == []
    Job.update(started_at=now()).execute()  # it is on, or handed over
    DriftSweep.update(asked_at=None).execute()
    assert len(drift.sweep(settings)) == 1


@pytest.mark.parametrize(
    ("found", "limit", "throttle", "accepted"),
    [
        (0, None, None, True),
        (5_000, None, None, True),
        (5_000, 5_000, None, True),
        (0, 5_000, None, False),
        (5_000, None, 1_000, False),
        (0, None, 1_000, False),
        (500, 5_000, 1_000, True),
    ],
)
def test_a_rate_is_accepted_within_what_the_server_is_held_to(
    server: Server, found: int, limit: int | None, throttle: int | None, accepted: bool
) -> None:
    """Another one would still differ."""
    server.limits, server.throttle_bytes_per_second = {"rate_bytes_per_second": limit}, throttle
    network = {"rate_bytes_per_second": found} if found else {}
    difference = Difference(field="network", setting="net0.rate", recorded="1", found=None)
    told = {"identified": True, "settings": {"network": network}}
    expected = {"network": {"rate_bytes_per_second": found}} if accepted else {}
    assert differences.acceptable(server, [difference], told) == expected


def test_what_a_clock_that_ran_ahead_has_dated_is_not_done(server: Server) -> None:
    drifted(server)
    assert Drift.checked_since(server.node, now() - HOUR) == {server.id}
    Drift.update(checked_at=now() + HOUR).execute()
    assert Drift.checked_since(server.node, now() - HOUR) == set()


@pytest.mark.parametrize("is_set", [False, True])
def test_a_rate_that_quota_has_still_to_set_is_no_drift(server: Server, is_set: bool) -> None:
    server.throttle(1_000)
    if is_set:
        server.note_throttle(1_000)
    job = Job.create(
        type="node.drift", node=server.node, status="running", max_attempts=1, requested_by="o", request_id="r"
    )  # fmt: skip
    told = {
        "exists": True, "owned": True, "identified": True, "digest": "d", "settings": None,
        "differences": [{"setting": "net0.rate", "found": None, "recorded": "0.000954"}],
    }  # fmt: skip
    diff = [{"before": {"net0.rate": None}, "after": {"net0.rate": "0.000954"}}]
    drift.record(job, Compared(Server.get_by_id(server.id), now(), told, diff), Settings())
    row = Drift.of(server)
    assert row is not None
    expected = (DriftStatus.DRIFTED, diff) if is_set else (DriftStatus.IN_SYNC, [])
    assert (row.status, row.diff) == expected


def test_operators_are_told_once_that_a_server_has_begun_to_differ(server: Server) -> None:
    webhook = Webhook.create(owner=None, target="https://a.example", events=["server.drifted"], enabled=True)
    Webhook.create(owner=server.owner, target="https://b.example", events=["*"], enabled=True)
    job = Job.create(
        type="node.drift", node=server.node, status="running", max_attempts=1, requested_by="o", request_id="r"
    )  # fmt: skip
    told = {
        "exists": True, "owned": True, "identified": True, "digest": "d", "settings": None,
        "differences": [{"setting": "cores", "found": 3, "recorded": 1}],
    }  # fmt: skip
    for _ in range(2):
        found = Compared(Server.get_by_id(server.id), now(), told)
        assert drift.record(job, found, Settings()) is DriftStatus.DRIFTED
    rows = [json.loads(row.body_for(webhook)) for row in WebhookEvent.select()]
    assert [(row["type"], row["data"]["settings"]) for row in rows] == [("server.drifted", ["cores"])]
