"""Changing a server that exists.

What only our records hold (labels, limits, protection, expiry) changes at once, whatever goes on with the
server. Everything else is recorded as wanted and brought about by a job; when the job fails, the records go
back to what they were.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.change import AddressChange, ServerChange
from jotunheim.data.server.spec import KINDS, MAX_ADDRESSES, AddressCounts
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import DataValidationError, FieldProblem, all_problems
from jotunheim.exceptions.repository import PlanOutdatedError, UniquenessError
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.database import now, previewed, unique
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import ssh_keys
from jotunheim.services.networks import addresses, claims
from jotunheim.services.proxmox import placement
from jotunheim.services.servers import plans
from jotunheim.services.servers.delete import assert_not_going
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import assert_free, enqueue

RECORDED = frozenset({"labels", "external_id", "limits", "protected", "expires_in_seconds"})
"""Fields that only our records hold. A limit of the network rate is the VM's too."""
COLUMNS = frozenset(
    {
        "name",
        "hostname",
        "cpu",
        "memory_bytes",
        "disk_bytes",
        "ssh_keys",
        "tags",
        "description",
        "network",
        "cloud_init",
        "boot_order",
        "agent",
        "iso",
        "anti_spoofing",
    }
)
"""Fields that are columns of the same name, and settings of the VM."""


def configure(server: Server, change: ServerChange, actor: Actor, manner: Manner) -> Job | None:
    """Record a change and queue the job that brings it about.

    A change without any field asserts everything that is recorded.

    Returns:
        The job; None when nothing but our records was to change.

    Raises:
        LockedError: a job has the server, and its VM would have to change.
        ConflictError: the same, while it is not ready.
        DataValidationError: the change does not fit the server.
        UniquenessError: the owner has another server with this name or external id.
        PlacementError: the pools have too few addresses, one that was named is not to be had, or the node has too little room.
        ConflictError: an address that a plan has shown is somebody else's by now.
    """
    with all_problems() as collect:
        collect(_validate, server, change)
        change = collect(_with_keys, server, change)
    given = change.model_fields_set - {"restart", "ssh_key_ids"}
    fields = sorted(given - RECORDED | ({"network"} if _rate_changes(server, change) else set()))
    with unique(
        f"There is a server {change.name} of this owner already.",
        external_id=f"There is a server with the external id {change.external_id} of this owner already.",
    ):
        if given and not fields:
            with previewed(manner.check):
                _record(server, change)
            return None
        assert_free(server)
        with previewed(manner.check):
            _record(server, change)
            after = _columns(server, change)
            _assert_room(server, after)
            before = Address.ids_of(server)
            wanted = _addresses(server, change.addresses, manner.planned)
            parameters = {
                "fields": fields,
                "restart": change.restart,
                "before": {name: getattr(server, name) for name in after},
                "after": after,
                "addresses_before": before,
                "addresses_after": wanted,
            }
            server.change(**after)
        return enqueue(server, JobType.CONFIGURE, actor, parameters, manner)


def take_over(server: Server, change: ServerChange) -> None:
    """Record a change that the VM has already.

    Raises:
        DataValidationError: the change does not fit the server.
        UniquenessError: the owner has another server with this name.
    """
    _validate(server, change)
    with unique(f"There is a server {change.name} of this owner already."):
        server.change(**_columns(server, change))


def record_again(server: Server, parameters: Mapping[str, Any]) -> None:
    """Record what a failed job wanted once more, since it is tried again.

    Raises:
        ConflictError: what it would change was changed otherwise meanwhile.
        UniquenessError: the owner has another server with this name meanwhile.
        PlacementError: an address that it had is somebody else's by now, or the room on its node is.
    """
    before, after = set(parameters["addresses_before"]), set(parameters["addresses_after"])
    addressed = "addresses" in parameters["fields"]
    changed = any(
        getattr(server, column) not in (value, parameters["after"][column])
        for column, value in parameters["before"].items()
    )
    if changed or (addressed and not before <= set(Address.ids_of(server)) <= before | after):
        raise ConflictError("The server was changed otherwise meanwhile.", hint="Ask for the change anew.")
    with unique("The owner has another server of this name by now."):
        _assert_room(server, parameters["after"])
        server.change(**parameters["after"])
        if addressed:
            addresses.take(server, parameters["addresses_after"])


def revert(server: Server, job: Job, error: JotunheimError) -> None:
    """Record again what was before a change that failed; what was set otherwise meanwhile stays.

    When the VM was configured and only what came after it failed, a restart for one, the records are true as they are.
    New addresses that the VM may have been told of stay: nobody else may get them before it is told otherwise.

    Call it within a transaction.
    """
    if JobStep.any_ok(job):
        return
    put_back(server, job.parameters)
    if not _may_have_reached_vm(job, error):
        give_addresses_back(server, job.parameters)


def put_back(server: Server, parameters: Mapping[str, Any]) -> None:
    """Record the settings that were before a change; what was set otherwise meanwhile stays.

    A name that another server of the owner has taken meanwhile is not to be had again: the new one stays.
    """
    before = {
        column: value
        for column, value in parameters["before"].items()
        if getattr(server, column) == parameters["after"][column]
    }
    try:
        with unique("The owner has another server of this name by now."):
            server.change(**before)
    except UniquenessError:
        server.change(**{column: before[column] for column in before.keys() - {"name", "hostname"}})


def give_addresses_back(server: Server, parameters: Mapping[str, Any]) -> None:
    """Return the addresses that a change has taken from their pools; the VM was never told of them."""
    if "addresses" in parameters["fields"]:
        Address.keep_only(server, parameters["addresses_before"])


def _may_have_reached_vm(job: Job, error: JotunheimError) -> bool:
    """Whether the VM may have got some of a change that failed: growing a disk comes after all else."""
    if error.code == PlanOutdatedError.code:
        return False
    return error.retryable or "disk_bytes" in job.parameters["fields"]


def _validate(server: Server, change: ServerChange) -> None:
    problems = []
    current = server.disk_bytes
    if change.disk_bytes is not None and current is not None and change.disk_bytes < current:
        problems.append(
            FieldProblem("disk_bytes", f"the disk has {current} bytes, and Proxmox VE cannot shrink disks")
        )
    limit = _limits(server, change).get("rate_bytes_per_second")
    rate = change.network.rate_bytes_per_second if change.network else None
    if limit and rate and rate > limit:
        problems.append(
            FieldProblem("network.rate_bytes_per_second", f"must be at most {limit}, the server's limit")
        )
    if change.network and change.network.firewall is False and _needs_firewall(server, change):
        problems.append(
            FieldProblem(
                "network.firewall", "anti-spoofing or the server's own firewall needs it; switch those off"
            )
        )
    if problems:
        raise DataValidationError(problems)


def _assert_room(server: Server, after: Mapping[str, Any]) -> None:
    """Make sure that the server's node has room for what it shall have more than now."""
    more = {
        name: (after.get(name) or 0) - (getattr(server, name) or 0)
        for name in ("memory_bytes", "disk_bytes")
        if name in after
    }
    placement.assert_growth(
        server.node, memory_bytes=more.get("memory_bytes", 0), disk_bytes=more.get("disk_bytes", 0)
    )


def _with_keys(server: Server, change: ServerChange) -> ServerChange:
    """The change with the keys themselves, where it names some that the owner keeps."""
    if change.ssh_key_ids is None:
        return change
    keys = ssh_keys.chosen(server.owner_id, change.ssh_keys, change.ssh_key_ids, ())
    return change.model_copy(update={"ssh_keys": keys})


def _needs_firewall(server: Server, change: ServerChange) -> bool:
    if change.anti_spoofing is None:
        return server.needs_firewall
    return bool(change.anti_spoofing or (server.firewall or {}).get("enabled"))


def _limits(server: Server, change: ServerChange) -> dict[str, Any]:
    given = change.limits.model_dump(exclude_unset=True) if change.limits else {}
    return {**server.limits, **given}


def _rate_changes(server: Server, change: ServerChange) -> bool:
    name = "rate_bytes_per_second"
    return bool(_limits(server, change).get(name) != server.limits.get(name))


def _record(server: Server, change: ServerChange) -> None:
    """What only our records hold."""
    given = change.model_fields_set
    if not given.isdisjoint({"protected", "expires_in_seconds"}):
        assert_not_going(server)
    columns: dict[str, Any] = {}
    if "limits" in given:
        columns["limits"] = _limits(server, change)
    if "protected" in given:
        columns["protected"] = change.protected
    if "external_id" in given:
        columns["external_id"] = change.external_id
    if "expires_in_seconds" in given:
        seconds = change.expires_in_seconds
        columns["expires_at"] = None if seconds is None else now() + timedelta(seconds=seconds)
    if change.labels is not None:
        Label.replace_all(server, change.labels)
    if columns or change.labels is not None:
        server.change(**columns)


def _columns(server: Server, change: ServerChange) -> dict[str, Any]:
    """The columns that are settings of the VM, as they shall be."""
    given = change.model_dump(mode="json", include=set(COLUMNS), exclude_unset=True)
    for name in ("network", "cloud_init"):
        if name in given:
            given[name] = {**getattr(server, name), **given[name]}
    if "tags" in given:
        given["tags"] = list(dict.fromkeys(given["tags"]))
    if "name" in given and "hostname" not in given and server.hostname == server.name:
        given["hostname"] = given["name"]  # as when it was made: a host name by default is the name
    return given


def _addresses(server: Server, counts: AddressChange | None, planned: Mapping[str, Any] | None) -> list[int]:
    """Ids of the addresses that the server shall have; what is missing is taken from the pools now.

    Those that a plan has shown are taken, when there is one.
    """
    if counts is None:
        return Address.ids_of(server)
    if planned is not None:
        shown: list[int] = planned["addresses_after"]
        with plans.pinned("addresses"):
            addresses.take(server, shown)
        return shown
    have = Address.of([server]).get(server.id, [])
    named = claims.claim(server, server.node, counts.explicit or [])
    kept: set[int] = {address.id for address in named}
    more, problems = {}, []
    for kind in KINDS:
        ids = [address.id for address in have if address.pool.kind == kind and address.id not in kept]
        count = sum(address.pool.kind == kind for address in named)
        wanted = getattr(counts, kind)
        others = len(ids) if wanted is None else max(0, wanted - count)
        if count + others > MAX_ADDRESSES:
            problems.append(FieldProblem(f"addresses.{kind}", f"a server has at most {MAX_ADDRESSES}"))
        kept.update(ids[:others])
        more[kind] = max(0, others - len(ids))
    if problems:
        raise DataValidationError(problems)
    addresses.allocate(server, server.node, AddressCounts.model_validate(more))
    given_back = {address.id for address in have} - kept
    return [id_ for id_ in Address.ids_of(server) if id_ not in given_back]
