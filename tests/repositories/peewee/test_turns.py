"""Whose turn it is: fair between owners, within budgets, what was lost first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jotunheim.data.job import JobError, OnCancel
from jotunheim.repositories.peewee import turns
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.turns import Budgets, Group, Running

FREE = Budgets(running=None, storage_clones=None, worker_slots=4)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
HERE, ELSEWHERE = "this worker", "another worker"


def group(
    owner: int | None, minutes: int = 0, *, node: int = 1, clones: bool = True, **given: object
) -> Group:
    """Jobs of an owner that wait since so many minutes past midnight."""
    described = {
        "is_operator": True,
        "storage": f"store-{node}",
        "node_clones": 2,
        "scheduled": False,
        **given,
    }
    since = MONDAY + timedelta(minutes=minutes)
    return Group(owner_id=owner, node_id=node, clones=clones, since=since, **described)  # type: ignore[arg-type]


def running(
    owner: int | None, count: int = 1, *, node: int = 1, clones: bool = True, worker: str = HERE
) -> Running:
    """So many running jobs of an owner."""
    return Running(owner, node, f"store-{node}", clones, worker, count)


def test_who_waits_longest_comes_first() -> None:
    early, late = group(1, 5), group(2, 9)
    assert turns.choose([late, early], [], FREE, HERE) is early


def test_who_has_less_running_comes_before_who_waits_longer() -> None:
    flood, single = group(1, 0), group(2, 59)
    assert turns.choose([flood, single], [running(1, node=9)], FREE, HERE) is single


def test_whose_turn_was_longest_ago_comes_before_who_waits_longer() -> None:
    flood = group(1, 0, served=MONDAY + timedelta(hours=3))
    other = group(2, 50, served=MONDAY + timedelta(hours=2))
    newcomer = group(3, 59)
    assert turns.choose([flood, other], [], FREE, HERE) is other
    assert turns.choose([flood, other, newcomer], [], FREE, HERE) is newcomer


def test_of_one_owner_what_was_set_for_a_time_comes_first() -> None:
    waiting, due = group(1, 0), group(1, 30, scheduled=True)
    assert turns.choose([waiting, due], [], FREE, HERE) is due


def test_a_node_makes_no_more_clones_than_it_may_and_others_go_on() -> None:
    full, other_node, no_clone = group(1), group(1, 1, node=2), group(1, 2, clones=False)
    busy = [running(7, 2, worker=ELSEWHERE)]
    assert turns.choose([full], busy, FREE, HERE) is None
    assert turns.choose([full, other_node], busy, FREE, HERE) is other_node
    assert turns.choose([full, no_clone], busy, FREE, HERE) is no_clone
    assert turns.choose([full], [running(7, 2, clones=False)], FREE, HERE) is full


def test_a_node_makes_one_backup_after_the_other_and_others_go_on() -> None:
    one = Budgets(running=None, storage_clones=None, worker_slots=4, node_backups=1)
    full, elsewhere = group(1, clones=False, backs_up=True), group(1, 1, node=2, clones=False, backs_up=True)
    busy = [Running(7, 1, "a", False, ELSEWHERE, 1, backs_up=True)]
    assert turns.choose([full], busy, one, HERE) is None
    assert turns.choose([full], busy, FREE, HERE) is full
    assert turns.choose([full, elsewhere], busy, one, HERE) is elsewhere
    assert turns.choose([full, group(1, 2)], busy, one, HERE) == group(1, 2)


@pytest.mark.parametrize(("slots", "allowed"), [(4, 2), (3, 1), (1, 1)])
def test_backups_leave_half_of_a_worker_to_others(slots: int, allowed: int) -> None:
    budgets = Budgets(running=None, storage_clones=None, worker_slots=slots, node_backups=1)
    another = group(1, node=9, clones=False, backs_up=True)

    def busy(count: int, worker: str = HERE) -> list[Running]:
        return [Running(2, node, "a", False, worker, 1, backs_up=True) for node in range(count)]

    assert turns.choose([another], busy(allowed - 1), budgets, HERE) is another
    assert turns.choose([another], busy(allowed), budgets, HERE) is None
    assert turns.choose([another], busy(allowed, ELSEWHERE), budgets, HERE) is another


def test_backups_of_one_node_are_taken_one_after_the_other(node: Node) -> None:
    one = Budgets(running=None, storage_clones=None, worker_slots=4, node_backups=1)
    first, second = (queued(node, None, "backup.create") for _ in range(2))
    preview = queued(node, None, "backup.create", check_only=True)
    taken = [take(one) for _ in range(3)]
    assert [job.id if job else None for job in taken] == [first.id, preview.id, None]
    assert taken[0] is not None
    taken[0].mark_succeeded()
    last = take(one)
    assert last is not None
    assert last.id == second.id


def test_a_storage_of_one_name_takes_no_more_clones_than_it_may() -> None:
    tight = Budgets(running=None, storage_clones=1, worker_slots=4)
    here, there = group(1, storage="shared"), group(1, node=2, storage="shared")
    busy = [Running(1, 3, "shared", True, ELSEWHERE, 1)]
    assert turns.choose([here, there], busy, tight, HERE) is None
    assert turns.choose([here, group(1, 1, node=2)], busy, tight, HERE) is not None


def test_all_workers_together_run_no_more_than_they_may() -> None:
    tight = Budgets(running=3, storage_clones=None, worker_slots=4)
    assert turns.choose([group(1, node=5)], [running(2, 3, worker=ELSEWHERE)], tight, HERE) is None


@pytest.mark.parametrize(("slots", "allowed"), [(4, 3), (2, 1), (1, 1)])
def test_an_owner_leaves_one_slot_of_a_worker_to_others(slots: int, allowed: int) -> None:
    budgets = Budgets(running=None, storage_clones=None, worker_slots=slots)
    theirs = group(1, clones=False, is_operator=False)

    def chosen(count: int, worker: str = HERE) -> Group | None:
        busy = [running(1, 9, clones=False, worker=f"{worker}/{number}") for number in range(count)]
        return turns.choose([theirs], busy, budgets, HERE)

    assert chosen(allowed - 1) is theirs
    assert chosen(allowed) is None
    assert chosen(allowed, ELSEWHERE) is theirs
    operators = group(1, clones=False)
    assert turns.choose([operators], [running(1, allowed, clones=False)], budgets, HERE) is operators


@pytest.fixture
def node() -> Node:
    """A node that makes one clone at a time."""
    location = Location.create(name="L", short_code="l")
    columns = {
        "host": "h",
        "port": 1,
        "token_id": "t",
        "bridge": "b",
        "memory_overcommit": 1,
        "disk_overcommit": 1,
    }
    storages = {"vm_storage": "a", "backup_storage": "b", "iso_storage": "c"}
    made: Node = Node.create(name="n", location=location, max_concurrent_clones=1, **columns, **storages)
    return made


def queued(
    node: Node | None = None, owner: int | None = None, type_: str = "server.build", **columns: object
) -> Job:
    """A job that waits."""
    return Job.enqueue(
        type=type_, node=node, owner_id=owner, max_attempts=3, requested_by="a", request_id="r", **columns
    )


def take(budgets: Budgets = FREE, **given: object) -> Job | None:
    """What a worker gets, when it takes one job at a time."""
    return next(iter(take_batch(budgets, **given)), None)


def take_batch(budgets: Budgets, **given: object) -> list[Job]:
    """What a worker gets."""
    return turns.take(HERE, 30, budgets, **{"held": (), **given})  # type: ignore[arg-type]


def test_jobs_of_one_type_are_taken_together_each_in_its_turn(node: Node) -> None:
    owners = [User.create(email=f"{name}@example.com", name=name, role="client").id for name in "ab"]
    batches = replace(FREE, batch=4)
    scan = queued(None, None, "node.scan")
    flood = [queued(None, owners[0], "server.power") for _ in range(5)]
    theirs = [queued(None, owners[1], "server.power") for _ in range(2)]
    builds = [queued(node, owners[1]) for _ in range(2)]
    assert take_batch(batches) == [scan]  # what takes long has a slot for itself
    assert take_batch(batches) == [flood[0], theirs[0], flood[1], theirs[1]]
    assert take_batch(replace(batches, running=7)) == flood[2:4]
    assert take_batch(batches) == builds[:1]  # the node makes no more clones at once
    assert take_batch(batches) == flood[4:]
    assert take_batch(batches) == []


def test_what_failed_before_is_taken_by_itself() -> None:
    jobs = [queued(type_="server.power") for _ in range(3)]
    Job.update(attempt=1).where(Job.id == jobs[1].id).execute()
    lost = Job.claim(queued(type_="server.power").id, ELSEWHERE, -1)
    batches = replace(FREE, batch=4)
    taken = [{job.id for job in take_batch(batches)} for _ in range(3)]
    assert lost is not None
    assert taken == [{lost.id}, {jobs[0].id, jobs[2].id}, {jobs[1].id}]


def test_jobs_are_taken_one_an_owner_in_turn(node: Node) -> None:
    owners = [User.create(email=f"{name}@example.com", name=name, role="client").id for name in "ab"]
    flood = [queued(None, owners[0], "server.power") for _ in range(3)]
    single = queued(None, owners[1], "server.power")
    clone = queued(node, owners[1])
    taken = [take() for _ in range(5)]
    assert [job.id if job else None for job in taken] == [
        flood[0].id, single.id, flood[1].id, clone.id, flood[2].id
    ]  # fmt: skip
    assert take() is None


def test_an_owner_with_one_job_waits_for_one_job_where_there_is_room_for_one(node: Node) -> None:
    owners = [User.create(email=f"{name}@example.com", name=name, role="client").id for name in "ab"]
    flood = [queued(node, owners[0]) for _ in range(3)]
    first = take()
    assert first == flood[0]
    single = queued(node, owners[1])
    assert take() is None
    first.mark_succeeded()
    assert take() == single


def test_a_budget_that_is_used_up_lets_others_pass_until_it_is_free(node: Node) -> None:
    first, second = queued(node), queued(node)
    preview = queued(node, check_only=True)
    power = queued(node, type_="server.power")
    job = take()
    assert job == first
    assert [take(), take(), take()] == [preview, power, None]
    assert turns.some(9) == [second.id]
    job.mark_succeeded()
    assert take() == second


def test_a_lost_job_comes_first_but_not_to_the_worker_that_is_still_busy_with_it(node: Node) -> None:
    lost = Job.claim(queued(node).id, ELSEWHERE, -1)
    assert lost is not None
    queued(None, type_="server.power")
    other = take(held=[lost.id])
    assert other is not None
    assert other.type == "server.power"
    again = take()
    assert again is not None
    assert (again.id, again.attempt, again.fence) == (lost.id, 2, 2)


def test_what_waits_for_a_time_is_left_until_then() -> None:
    queued(run_after=now() + timedelta(hours=1))
    put_off = Job.claim(queued().id, HERE, 30)
    assert put_off is not None
    Job.update(status="queued", not_before=now() + timedelta(hours=1)).where(Job.id == put_off.id).execute()
    assert take() is None
    assert turns.some(9) == []
    Job.update(not_before=now()).where(Job.id == put_off.id).execute()
    assert take() == put_off


def test_what_shall_be_cancelled_waits_for_nothing() -> None:
    job = Job.claim(queued().id, HERE, 30)
    assert job is not None
    job.put_off(JobError(code="x", message="m", retryable=True), 3600)
    assert take() is None
    Job.update(cancel_requested=OnCancel.CLEANUP).where(Job.id == job.id).execute()
    assert take() == job


def test_a_worker_sweeps_one_node_after_the_other_and_what_somebody_asked_for_comes_first() -> None:
    sweep = group(None, 0, clones=False, sweeps=True)
    asked = group(None, 30, clones=False)
    assert turns.choose([sweep, asked], [], FREE, HERE) is asked
    busy = Running(None, 2, "a", False, HERE, 1, sweeps=True)
    assert turns.choose([sweep], [busy], FREE, HERE) is None
    assert turns.choose([sweep], [busy], FREE, ELSEWHERE) is sweep


def test_a_sweep_is_no_reason_for_a_sweep_to_give_way() -> None:
    Job.create(type="node.drift", max_attempts=1, requested_by=turns.SWEEP, request_id="r")
    assert not turns.is_anybody_waiting()
    Job.create(type="node.sync", max_attempts=1, requested_by="admin@example.com", request_id="r")
    assert turns.is_anybody_waiting()
