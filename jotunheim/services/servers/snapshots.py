"""Snapshots of servers. The node keeps them; we ask it before we queue anything."""

from collections.abc import Callable, Sequence
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.requests import SnapshotSpec
from jotunheim.data.server.status import Power
from jotunheim.data.server.view import SnapshotView
from jotunheim.exceptions.repository import NotFoundError, UniquenessError
from jotunheim.exceptions.service import ConflictError, ResourceLimitExceededError
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked, assert_free, enqueue

SORTABLE: dict[str, Callable[[SnapshotView], Any]] = {
    "created_at": lambda snapshot: snapshot.created_at,
    "name": lambda snapshot: snapshot.name,
}


def page_of(existing: Sequence[SnapshotView], page: Page) -> Paged[SnapshotView]:
    """A page of what the node has, the oldest first unless `sort` says otherwise."""
    return Paged.cut(existing, page, SORTABLE)


def create_snapshot(
    server: Server, spec: SnapshotSpec, existing: Sequence[SnapshotView], actor: Actor, manner: Manner
) -> Asked:
    """Queue a snapshot.

    Args:
        existing: what the node has.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
        UniquenessError: there is a snapshot of this name.
        ResourceLimitExceededError: the server has as many as it may have.
    """
    assert_free(server)
    if any(snapshot.name == spec.name for snapshot in existing):
        raise UniquenessError(f"There is a snapshot {spec.name} of this server already.")
    limit = server.limits.get("snapshots")
    if limit is not None and len(existing) >= limit:
        raise ResourceLimitExceededError(
            f"The server has {len(existing)} snapshots and may have {limit}.",
            hint="Delete one, or raise limits.snapshots.",
        )
    return Asked(server, enqueue(server, JobType.SNAPSHOT_CREATE, actor, spec.model_dump(), manner))


def roll_back(
    server: Server, name: str, existing: Sequence[SnapshotView], actor: Actor, manner: Manner
) -> Asked:
    """Queue the return to a snapshot; what was written since is lost. A server that ran is started again.

    Raises:
        NotFoundError: there is no such snapshot.
        LockedError: a job has the server.
        ConflictError: it is not ready, or it is suspended and the snapshot holds a running server.
    """
    assert_free(server)
    snapshot = _named(name, existing)
    if server.is_suspended and snapshot.with_memory:
        raise ConflictError(
            f"Server {server.name} is suspended, and this snapshot would bring it back running.",
            hint="Unsuspend it first.",
        )
    start = (server.power == Power.RUNNING or snapshot.with_memory) and not server.is_suspended
    if manner.planned is not None:
        start = manner.planned["start"]  # our record of the power may have been corrected since
    parameters = {"name": name, "start": start}
    return Asked(server, enqueue(server, JobType.SNAPSHOT_ROLLBACK, actor, parameters, manner))


def delete_snapshot(
    server: Server, name: str, existing: Sequence[SnapshotView], actor: Actor, manner: Manner
) -> Asked:
    """Queue the deletion of a snapshot.

    Raises:
        NotFoundError: there is no such snapshot.
        LockedError: a job has the server.
        ConflictError: it is not ready.
    """
    assert_free(server)
    _named(name, existing)
    return Asked(server, enqueue(server, JobType.SNAPSHOT_DELETE, actor, {"name": name}, manner))


def _named(name: str, existing: Sequence[SnapshotView]) -> SnapshotView:
    for snapshot in existing:
        if snapshot.name == name:
            return snapshot
    raise NotFoundError("snapshot", name)
