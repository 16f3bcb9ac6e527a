"""Whose turn it is: which job a worker takes next.

First what a lost worker left. Then the owner with the fewest running jobs, among several the one whose turn was longest ago,
so that nobody's five hundred builds hold up somebody else's single one for longer than one job takes. Of an owner's jobs
those whose time was set, then those that wait longest. A job is passed over while a budget that it needs is used up; when one that uses it ends, somebody looks again.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import JOIN, SQL, fn

from jotunheim.data.job import CLONING, JobStatus, JobType
from jotunheim.repositories.peewee.accounts import Role, User
from jotunheim.repositories.peewee.database import now, serialize, transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import LIVE, Job, abandoned, waiting

SWEEP = "drift sweep"
"""Who asks for what nobody has asked for."""
REMEMBERED = timedelta(hours=1)
"""How long it counts whose turn it was."""
_NEVER = datetime.min.replace(tzinfo=UTC)

# Clones write whole disks; previews write none.
_CLONES = Job.type.in_(list(CLONING)) & ~Job.check_only
_BACKS_UP = (Job.type == JobType.BACKUP_CREATE) & ~Job.check_only
_SWEEPS = (Job.type == JobType.NODE_DRIFT) & (Job.requested_by == SWEEP)
_IS_SCHEDULED = Job.run_after.is_null(False)


@dataclass(frozen=True)
class Budgets:
    """How many jobs may run at once, beyond a node's own number of clones. None: any number.

    Attributes:
        running: of all jobs.
        storage_clones: of those that clone to one storage. Storages of the same name count as one: a shared one has
            one name on all its nodes.
        node_backups: of those that make a backup on one node. Proxmox VE makes one after the other there.
        worker_slots: how many runs one worker carries out at once; owners who are no operators get all but one.
    """

    running: int | None
    storage_clones: int | None
    worker_slots: int
    node_backups: int | None = None


@dataclass(frozen=True)
class Group:
    """Jobs that are alike for every budget."""

    owner_id: int | None
    is_operator: bool
    node_id: int | None
    storage: str | None
    node_clones: int | None
    """How many clones the node may make at once."""
    clones: bool
    scheduled: bool
    since: datetime
    """When the first of those that wait was asked for."""
    backs_up: bool = False
    sweeps: bool = False
    """Looks for drift that nobody waits for."""
    served: datetime | None = None
    """When a job of this owner last began, within `REMEMBERED`; None: none did."""


@dataclass(frozen=True)
class Running:
    """How many jobs of one kind a worker runs."""

    owner_id: int | None
    node_id: int | None
    storage: str | None
    clones: bool
    worker: str | None
    count: int
    backs_up: bool = False
    sweeps: bool = False


def take(worker: str, lease_seconds: float, budgets: Budgets, held: Collection[uuid.UUID]) -> Job | None:
    """Claim the job whose turn it is; None: there is none, or no budget for any.

    Args:
        held: jobs that this worker is still busy with. It does not take one of them twice, even if it lost the lease.
    """
    if _next(worker, budgets, held) is None:
        return None  # found without a lock, for which everybody who wants to write would wait
    with transaction():
        serialize("turns")
        job_id = _next(worker, budgets, held)
        return None if job_id is None else Job.claim(job_id, worker, lease_seconds)


def some(limit: int, held: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """A few jobs that wait for a worker, or were left by one; whether there is a budget for them is another question."""
    lost = _lost(held, limit)
    return lost + [job.id for job in _free().order_by(Job.created_at).limit(limit - len(lost))]


def is_anybody_waiting() -> bool:
    """Whether a job waits for a worker that somebody has asked for, or that is due."""
    return bool(_free().where(~_SWEEPS).exists())


def choose(
    groups: Iterable[Group], running: Sequence[Running], budgets: Budgets, worker: str
) -> Group | None:
    """The group whose first job comes next; None: no budget is left for any."""
    total = sum(entry.count for entry in running)
    if budgets.running is not None and total >= budgets.running:
        return None
    of_owner, of_owner_here, on_node, on_storage, backups_on = (Counter[Any]() for _ in range(5))
    for entry in running:
        of_owner[entry.owner_id] += entry.count
        if entry.worker == worker:
            of_owner_here[entry.owner_id] += entry.count
        if entry.clones:
            on_node[entry.node_id] += entry.count
            on_storage[entry.storage] += entry.count
        if entry.backs_up:
            backups_on[entry.node_id] += entry.count

    sweeps_here = any(entry.sweeps and entry.worker == worker for entry in running)
    backups_here = sum(entry.count for entry in running if entry.backs_up and entry.worker == worker)

    def fits(group: Group) -> bool:
        if group.clones and group.node_clones is not None and on_node[group.node_id] >= group.node_clones:
            return False
        limit = budgets.storage_clones
        if group.clones and limit is not None and on_storage[group.storage] >= limit:
            return False
        limit = budgets.node_backups
        if group.backs_up and limit is not None and backups_on[group.node_id] >= limit:
            return False
        # Backups take hours: they leave half of the worker's slots to what somebody waits for.
        if group.backs_up and backups_here >= (budgets.worker_slots // 2 or 1):
            return False
        if group.sweeps and sweeps_here:
            return False
        # Whoever is no operator leaves one of the worker's slots to others, however slow their own jobs are.
        share = budgets.worker_slots - 1 or 1
        return group.is_operator or of_owner_here[group.owner_id] < share

    return min(
        filter(fits, groups),
        key=lambda group: (
            of_owner[group.owner_id],
            group.served or _NEVER,
            group.sweeps,
            not group.scheduled,
            group.since,
        ),
        default=None,
    )


def _next(worker: str, budgets: Budgets, held: Collection[uuid.UUID]) -> uuid.UUID | None:
    for job_id in _lost(held):
        return job_id
    chosen = choose(_waiting(), _running(), budgets, worker)
    return None if chosen is None else _first_of(chosen)


def _lost(held: Collection[uuid.UUID], limit: int = 1) -> list[uuid.UUID]:
    """Jobs that their workers left, the oldest first."""
    query = Job.select(Job.id).where(abandoned(now()) & Job.id.not_in(list(held)))
    return [job.id for job in query.order_by(Job.created_at).limit(limit)]


def _free() -> Any:
    """A select of jobs that wait, but for those that were scheduled and whose server another job has."""
    other = Job.alias()
    locked = other.select(other.server).where(
        other.status.in_(LIVE) & other.run_after.is_null() & other.server.is_null(False)
    )
    return Job.select(Job.id).where(
        waiting(now()) & (Job.run_after.is_null() | Job.server.is_null() | Job.server.not_in(locked))
    )


def _served() -> dict[int | None, datetime]:
    """When the last job of each owner began."""
    query: Any = (
        Job.select(Job.owner_id, fn.MAX(Job.started_at))
        .where(Job.started_at >= now() - REMEMBERED)
        .group_by(Job.owner_id)
    )
    return dict(query.tuples())


def _waiting() -> list[Group]:
    served = _served()
    clones, scheduled = _CLONES.alias("clones"), _IS_SCHEDULED.alias("scheduled")
    backs_up, sweeps = _BACKS_UP.alias("backs_up"), _SWEEPS.alias("sweeps")
    operator = (Job.owner_id.is_null() | Role.admin).alias("operator")
    columns = (Job.owner_id, Job.node, Node.vm_storage, Node.max_concurrent_clones)
    query: Any = (
        _free()
        .select(
            *columns, operator, clones, backs_up, sweeps, scheduled, fn.MIN(Job.created_at).alias("since")
        )
        .join(Node, JOIN.LEFT_OUTER)
        .join(User, JOIN.LEFT_OUTER, on=(User.id == Job.owner_id))
        .join(Role, JOIN.LEFT_OUTER, on=(Role.name == User.role))
        .group_by(*columns, Role.admin, SQL("clones"), SQL("backs_up"), SQL("sweeps"), SQL("scheduled"))
    )
    return [
        Group(
            owner_id=owner_id,
            is_operator=bool(is_operator),
            node_id=node_id,
            storage=storage,
            node_clones=node_clones,
            clones=bool(is_clone),
            backs_up=bool(is_backup),
            sweeps=bool(is_sweep),
            scheduled=bool(is_scheduled),
            since=since,
            served=served.get(owner_id),
        )
        for owner_id, node_id, storage, node_clones, is_operator, is_clone, is_backup, is_sweep, is_scheduled, since in query.tuples()
    ]


def _running() -> list[Running]:
    clones, backs_up = _CLONES.alias("clones"), _BACKS_UP.alias("backs_up")
    sweeps = _SWEEPS.alias("sweeps")
    columns = (Job.owner_id, Job.node, Node.vm_storage, Job.lease_owner)
    query: Any = (
        Job.select(*columns, clones, backs_up, sweeps, fn.COUNT(Job.id))
        .join(Node, JOIN.LEFT_OUTER)
        .where(Job.status == JobStatus.RUNNING)
        .group_by(*columns, SQL("clones"), SQL("backs_up"), SQL("sweeps"))
    )
    return [
        Running(owner_id, node_id, storage, bool(is_clone), worker, count, bool(is_backup), bool(is_sweep))
        for owner_id, node_id, storage, worker, is_clone, is_backup, is_sweep, count in query.tuples()
    ]


def _first_of(group: Group) -> uuid.UUID | None:
    alike = (
        Job.owner_id.is_null() if group.owner_id is None else Job.owner_id == group.owner_id,
        Job.node.is_null() if group.node_id is None else Job.node == group.node_id,
        _CLONES if group.clones else ~_CLONES,
        _BACKS_UP if group.backs_up else ~_BACKS_UP,
        _SWEEPS if group.sweeps else ~_SWEEPS,
        _IS_SCHEDULED if group.scheduled else ~_IS_SCHEDULED,
    )
    found = _free().where(*alike).order_by(Job.run_after, Job.created_at).first()
    return found.id if found else None  # somebody else took it just now
