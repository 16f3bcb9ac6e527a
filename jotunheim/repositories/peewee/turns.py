"""Whose turn it is: which job a worker takes next.

First what a lost worker left. Then the owner with the fewest running jobs, among several the one whose turn was longest ago,
so that nobody's five hundred builds hold up somebody else's single one for longer than one job takes. Of an owner's jobs
those whose time was set, then those that wait longest. A job is passed over while a budget that it needs is used up; when one that uses it ends, somebody looks again.

Jobs of one type are taken together, into one slot of a worker, each when it would be its turn: a batch gives nobody more than budgets
and fairness do.
"""

import uuid
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import JOIN, SQL, Case, fn

from jotunheim.data.job import BATCHED, CLONING, JobStatus, JobType
from jotunheim.repositories.peewee.accounts import Role, User
from jotunheim.repositories.peewee.database import now, serialize, transaction
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import LIVE, Job, abandoned, waiting

SWEEP = "drift sweep"
"""Who asks for what nobody has asked for."""
REMEMBERED = timedelta(hours=1)
"""How long it counts whose turn it was."""
_SLOT = "/"
"""Between a worker's name and that of its slot in the owner of a lease."""
_NEVER = datetime.min.replace(tzinfo=UTC)

# Clones write whole disks; previews write none.
_CLONES = Job.type.in_(list(CLONING)) & ~Job.check_only
_BACKS_UP = (Job.type == JobType.BACKUP_CREATE) & ~Job.check_only
_SWEEPS = (Job.type == JobType.NODE_DRIFT) & (Job.requested_by == SWEEP)
_BATCHED = Case(None, [(Job.type.in_(list(BATCHED)) & (Job.attempt == 0), Job.type)], None)
"""The type of those that can be taken together. One that failed before runs by itself: it may have taken others with it."""
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
        batch: how many jobs one run is for.
    """

    running: int | None
    storage_clones: int | None
    worker_slots: int
    node_backups: int | None = None
    batch: int = 1


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
    batched: str | None = None
    """Their type, when they can be taken together with others of it."""
    served: datetime | None = None
    """When a job of this owner last began, within `REMEMBERED`; None: none did."""


@dataclass(frozen=True)
class Running:
    """How many jobs of one kind a worker runs.

    Attributes:
        slot: in which of its slots; a worker's name is the part before the mark.
    """

    owner_id: int | None
    node_id: int | None
    storage: str | None
    clones: bool
    slot: str | None
    count: int
    backs_up: bool = False
    sweeps: bool = False

    @property
    def worker(self) -> str:
        """Who runs them."""
        return (self.slot or "").partition(_SLOT)[0]


def take(worker: str, lease_seconds: float, budgets: Budgets, held: Collection[uuid.UUID]) -> list[Job]:
    """Claim the job whose turn it is, and those that can be carried out with it; none: there is none, or no budget for any.

    Args:
        held: jobs that this worker is still busy with. It does not take one of them twice, even if it lost the lease.
    """
    slot = f"{worker}{_SLOT}{uuid.uuid4().hex[:8]}"
    if not _next(slot, replace(budgets, batch=1), held):
        return []  # found without a lock, for which everybody who wants to write would wait
    with transaction():
        serialize("turns")
        claimed = [Job.claim(job_id, slot, lease_seconds) for job_id in _next(slot, budgets, held)]
        return [job for job in claimed if job is not None]


def some(limit: int, held: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """A few jobs that wait for a worker, or were left by one; whether there is a budget for them is another question."""
    lost = _lost(held, limit)
    return lost + [job.id for job in _free().order_by(Job.created_at).limit(limit - len(lost))]


def is_anybody_waiting() -> bool:
    """Whether a job waits for a worker that somebody has asked for, or that is due."""
    return bool(_free().where(~_SWEEPS).exists())


def choose(groups: Iterable[Group], running: Sequence[Running], budgets: Budgets, slot: str) -> Group | None:
    """The group whose first job comes next into a slot of a worker; None: no budget is left for any."""
    worker = slot.partition(_SLOT)[0]
    total = sum(entry.count for entry in running)
    if budgets.running is not None and total >= budgets.running:
        return None
    of_owner, on_node, on_storage, backups_on = (Counter[Any]() for _ in range(4))
    others = {
        (entry.owner_id, entry.slot) for entry in running if entry.worker == worker and entry.slot != slot
    }
    of_owner_here = Counter(owner for owner, _ in others)
    for entry in running:
        of_owner[entry.owner_id] += entry.count
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


def _next(slot: str, budgets: Budgets, held: Collection[uuid.UUID]) -> list[uuid.UUID]:
    lost = _lost(held)
    if lost:
        return lost  # by itself: it may be what its worker was lost by
    groups, running = _waiting(), _running()
    found: list[uuid.UUID] = []
    ids: dict[Group, deque[uuid.UUID]] = {}
    while len(found) < budgets.batch:
        chosen = choose(groups, running, budgets, slot)
        if chosen is None:
            break
        if chosen not in ids:
            ids[chosen] = deque(_first_of(chosen, budgets.batch))
        if not ids[chosen]:  # all taken, or somebody else took them just now
            groups = [group for group in groups if group is not chosen]
            continue
        found.append(ids[chosen].popleft())
        running.append(_as_running(chosen, slot))
        if chosen.batched is None:
            break
        groups = [group for group in groups if group.batched == chosen.batched]
    return found


def _as_running(group: Group, slot: str) -> Running:
    return Running(
        group.owner_id, group.node_id, group.storage, group.clones, slot, 1, group.backs_up, group.sweeps
    )


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
    batched = _BATCHED.alias("batched")
    operator = (Job.owner_id.is_null() | Role.admin).alias("operator")
    columns = (Job.owner_id, Job.node, Node.vm_storage, Node.max_concurrent_clones)
    query: Any = (
        _free()
        .select(
            *columns,
            operator,
            clones,
            backs_up,
            sweeps,
            scheduled,
            batched,
            fn.MIN(Job.created_at).alias("since"),
        )
        .join(Node, JOIN.LEFT_OUTER)
        .join(User, JOIN.LEFT_OUTER, on=(User.id == Job.owner_id))
        .join(Role, JOIN.LEFT_OUTER, on=(Role.name == User.role))
        .group_by(
            *columns,
            Role.admin,
            SQL("clones"),
            SQL("backs_up"),
            SQL("sweeps"),
            SQL("scheduled"),
            SQL("batched"),
        )
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
            batched=type_,
            since=since,
            served=served.get(owner_id),
        )
        for owner_id, node_id, storage, node_clones, is_operator, is_clone, is_backup, is_sweep, is_scheduled, type_, since in query.tuples()
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


def _first_of(group: Group, limit: int) -> list[uuid.UUID]:
    alike = (
        Job.owner_id.is_null() if group.owner_id is None else Job.owner_id == group.owner_id,
        Job.node.is_null() if group.node_id is None else Job.node == group.node_id,
        _CLONES if group.clones else ~_CLONES,
        _BACKS_UP if group.backs_up else ~_BACKS_UP,
        _SWEEPS if group.sweeps else ~_SWEEPS,
        _IS_SCHEDULED if group.scheduled else ~_IS_SCHEDULED,
        _BATCHED.is_null() if group.batched is None else group.batched == _BATCHED,
    )
    query = _free().where(*alike).order_by(Job.run_after, Job.created_at).limit(limit)
    return [job.id for job in query]
