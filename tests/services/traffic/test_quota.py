"""Counting and deciding in a store: at once, again and again, and for many."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from jotunheim.ansible.asserted import asserted
from jotunheim.data.job import JobType
from jotunheim.data.server.traffic import CreditRequest
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.audit import AuditEntry
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import (
    TrafficHistory,
    TrafficMeter,
    TrafficPeriod,
    TrafficThreshold,
)
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookEvent
from jotunheim.repositories.proxmox.facts import Counters
from jotunheim.services.servers import differences
from jotunheim.services.traffic import enforcement, metering, quota, read
from jotunheim.services.traffic.periods import months_before, period_at
from jotunheim.settings import Settings
from tests.services.records import add_node, add_servers

MANY = 60


def told(servers: Sequence[Server], in_bytes: int, *, pid: int = 1, uptime: int = 60) -> dict[int, Counters]:
    """What a node tells when the processes of these servers have received so much."""
    return {server.vmid: Counters(pid, uptime, in_bytes, 0) for server in servers}


def counted(node: Node, servers: Sequence[Server], in_bytes: int, settings: Settings, **process: int) -> None:
    """Count that, and decide what follows."""
    metering.record(node, told(servers, in_bytes, **process), database.now(), settings)
    quota.review_node(node, settings)


def events() -> list[str]:
    """What was told of all servers, the oldest first."""
    entries = AuditEntry.select().where(AuditEntry.action.startswith("quota.")).order_by(AuditEntry.id)
    return [entry.action for entry in entries]


def at_once(times: int, work: Callable[[], object]) -> None:
    """Do something in several threads, as several workers would."""

    def within() -> None:
        try:
            work()
        finally:
            database.database.close()

    with ThreadPoolExecutor(times) as pool:
        for done in [pool.submit(within) for _ in range(times)]:
            done.result()


def totals() -> set[int]:
    """What servers have received in all months."""
    return {row.in_bytes for row in TrafficPeriod.select()}


def test_many_servers_that_several_workers_count_at_once(either_store: Settings) -> None:
    node, jobs = add_node(), []
    servers = add_servers(node, MANY)
    asked_at = database.now()
    at_once(3, lambda: metering.record(node, told(servers, 900), asked_at, either_store))
    at_once(3, lambda: quota.review_node(node, either_store))
    assert totals() == {900}
    assert {row.in_bytes for row in TrafficHistory.select()} == {900}
    assert TrafficHistory.select().count() == 2 * MANY
    counted(node, servers, 1300, either_store, uptime=61)
    at_once(3, lambda: jobs.extend(enforcement.enforce(either_store)))
    assert sorted(events()) == ["quota.exceeded"] * (2 * MANY) + ["quota.warned"] * MANY
    assert enforcement.JOBS_PER_NODE <= len(jobs) <= 3 * enforcement.JOBS_PER_NODE
    assert len({job.server_id for job in jobs}) == len(jobs)
    assert enforcement.enforce(either_store) == []


def test_webhooks_are_told_of_each_threshold_once_and_of_its_end(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)
    Webhook.create(owner=server.owner_id, events=["*"], target="https://x")
    counted(node, [server], 1100, store)
    counted(node, [server], 1110, store, uptime=61)
    server.change(limits={**server.limits, "traffic_bytes": None})
    quota.review_node(node, store)
    bodies = [
        json.loads(event.owners_body) for event in WebhookEvent.select().order_by(WebhookEvent.created_at)
    ]
    assert [body["type"] for body in bodies] == ["quota.warned", "quota.exceeded", "quota.reset"]
    assert [body["data"].get("percent") for body in bodies] == [80, 100, None]
    assert {body["data"]["server"]["name"] for body in bodies} == {server.name}


def test_who_is_locked_comes_next_and_who_is_away_waits(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)
    counted(node, [server], 1100, store)
    assert events() == ["quota.warned", "quota.exceeded"]
    other = Job.enqueue(
        type=JobType.POWER, server=server, node=node, max_attempts=1, requested_by="p", request_id="r"
    )
    (behind,) = enforcement.enforce(store)
    assert not Job.claim(behind.id, "worker", 60)
    assert enforcement.enforce(store) == []
    for job in (other, behind):
        job.withdraw()
    Job.update(finished_at=database.now() - timedelta(hours=1)).execute()
    NodeState.update(status="offline").execute()
    assert enforcement.enforce(store) == []
    NodeState.update(status="online").execute()
    server.note_missing()
    assert enforcement.enforce(store) == []
    Server.note_present(node, [server.vmid])
    (job,) = enforcement.enforce(store)
    assert (job.type, job.requested_by, job.parameters["fields"]) == ("server.configure", "quota", ["rate"])
    Job.update(status="failed", finished_at=database.now()).execute()
    assert enforcement.enforce(store) == []  # not again at once
    Job.update(finished_at=database.now() - timedelta(hours=1)).execute()
    (again,) = enforcement.enforce(store)
    assert again.parameters == job.parameters


def test_what_has_ended_is_not_passed_again_by_a_clock_that_is_behind(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = add_node()
    (server,) = add_servers(node)
    midnight = datetime(2026, 12, 1, tzinfo=UTC)

    def at(moment: datetime) -> None:
        monkeypatch.setattr(quota, "now", lambda: moment)
        monkeypatch.setattr(metering, "now", lambda: moment)

    at(midnight - timedelta(seconds=60))
    counted(node, [server], 1300, store)
    at(midnight + timedelta(seconds=1))
    counted(node, [server], 1300, store)
    at(midnight - timedelta(seconds=1))
    counted(node, [server], 1400, store)
    current: Server = Server.get()
    assert events() == ["quota.warned", "quota.exceeded", "quota.exceeded", "quota.reset"]
    assert current.throttle_bytes_per_second is None
    assert [row.period for row in TrafficThreshold.select()] == ["2026-11"] * 3


def test_a_suspension_by_quota_stays_a_persons_once_a_person_wants_it(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)
    server.suspend("abuse")
    counted(node, [server], 1300, store)
    jobs = enforcement.enforce(store)
    assert [job.type for job in jobs] == ["server.configure"]  # it is suspended already
    Job.update(status="succeeded", finished_at=database.now()).execute()
    current: Server = Server.get()
    assert (current.suspension_reason, current.suspended_by_quota) == ("abuse", False)
    current.suspend("traffic", by_quota=True)
    assert not current.suspended_by_quota


def test_what_a_job_has_seen_counts_only_of_the_process_that_is_known(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)

    def seen(in_bytes: int, pid: int, uptime: int) -> None:
        later = database.now() + timedelta(seconds=30)  # by a clock that is ahead
        metering.record_one(server.id, node, Counters(pid, uptime, in_bytes, 0), later, store)

    seen(100, pid=1, uptime=10)
    counted(node, [server], 150, store, pid=1, uptime=60)
    seen(170, pid=1, uptime=70)
    counted(node, [server], 5, store, pid=2, uptime=10)
    seen(180, pid=1, uptime=75)  # told too late
    seen(9, pid=3, uptime=5)  # not known yet
    counted(node, [server], 8, store, pid=2, uptime=70)
    assert totals() == {178}


@pytest.mark.parametrize(("found", "accepted"), [(4000, True), (6000, False), (0, False)])
def test_a_rate_above_the_throttle_is_not_accepted(store: Settings, found: int, accepted: bool) -> None:
    (server,) = add_servers(add_node())
    server.throttle(5000)
    told = {
        "settings": {"network": {"rate_bytes_per_second": found}},
        "identified": True,
        "differences": [{"setting": "net0.rate", "found": str(found), "recorded": "5000"}],
    }
    assert ("network" in differences.acceptable(server, differences.of(told), told)) is accepted


def test_an_imported_server_with_a_limit_gets_its_rate_back_with_everything(store: Settings) -> None:
    (server,) = add_servers(add_node())
    server.imported = True
    assert "rate" in asserted(server)
    server.limits = {**server.limits, "traffic_bytes": None}
    assert "rate" not in asserted(server)


def test_crediting_all_so_far_takes_no_credit_away(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)
    counted(node, [server], 500, store)
    for asked, credited in ((CreditRequest(), 500), (CreditRequest(bytes=400), 900), (CreditRequest(), 900)):
        assert read.credit(server, asked, store).credit_bytes == credited


def test_who_counts_waits_for_whoever_changes_a_server_and_not_the_other_way_round(
    either_store: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    node = add_node()
    (server,) = add_servers(node)
    metering.record(node, told([server], 100), database.now(), either_store)
    TrafficHistory.delete().execute()  # as in a new hour

    def count() -> None:
        metering.record(node, told([server], 300, uptime=90), database.now(), either_store)
        database.database.close()

    with ThreadPoolExecutor(1) as pool:
        with database.transaction():
            quota.hold(server.id)
            counting = pool.submit(count)
            time.sleep(0.5)
            read.credit(server, CreditRequest(), either_store)
        counting.result()
    assert totals() == {300}
    assert "done again" not in caplog.text


def test_a_server_that_was_there_before_is_counted_from_its_first_reading_on(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)
    TrafficMeter.delete().execute()
    counted(node, [server], 10**15, store)
    assert (totals(), events()) == (set(), [])
    counted(node, [server], 10**15 + 5, store, uptime=70)
    assert totals() == {5}


def test_a_server_that_moves_is_counted_on_where_it_comes_to(store: Settings) -> None:
    node, other = add_node(), add_node("pve2")
    (server,) = add_servers(node)
    counted(node, [server], 100, store)
    server.follow(other, server.vmid)
    counted(node, [server], 300, store, uptime=90)  # an answer of before it was known to have moved
    counted(other, [server], 20, store, pid=1, uptime=80)
    assert totals() == {120}


def test_history_months_and_what_was_passed_go_when_they_are_old(store: Settings) -> None:
    node = add_node()
    (server,) = add_servers(node)
    counted(node, [server], 1300, store)
    metering.prune(store)
    assert (TrafficHistory.select().count(), TrafficPeriod.select().count()) == (2, 1)
    TrafficHistory.update(at=database.now() - timedelta(days=500)).execute()
    TrafficPeriod.update(period="2020-01").execute()
    current = period_at(database.now(), store.traffic_timezone)
    for months in (1, 2):
        TrafficThreshold.update(period=months_before(current, months), ended_at=database.now()).execute()
        metering.prune(store)
        assert TrafficThreshold.select().count() == (3 if months == 1 else 0)
    assert [table.select().count() for table in (TrafficHistory, TrafficPeriod, TrafficThreshold)] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("at", "timezone", "name", "days"),
    [
        (datetime(2026, 11, 30, 23, 30, tzinfo=UTC), "UTC", "2026-11", 30),
        (datetime(2026, 11, 30, 23, 30, tzinfo=UTC), "Europe/Berlin", "2026-12", 31),
        (datetime(2028, 2, 1, tzinfo=UTC), "America/New_York", "2028-01", 31),
        (datetime(2028, 2, 29, tzinfo=UTC), "UTC", "2028-02", 29),
    ],
)
def test_months_are_those_of_the_time_zone(at: datetime, timezone: str, name: str, days: int) -> None:
    period = period_at(at, timezone)
    assert (period.name, (period.ends_at - period.begins_at).days) == (name, days)
    assert period.begins_at <= at < period.ends_at


def test_months_are_counted_back_over_the_year() -> None:
    period = period_at(datetime(2026, 2, 3, tzinfo=UTC), "UTC")
    assert [months_before(period, count) for count in (0, 1, 2, 26)] == [
        "2026-02",
        "2026-01",
        "2025-12",
        "2023-12",
    ]
