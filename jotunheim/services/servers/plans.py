"""Plans: applying exactly what a preview has shown, as long as it is still so.

A plan is a preview that succeeded. It is applied once, within a day, by whoever may see the preview. What it rests on
is compared twice: here, when it is asked for, and by the run itself until its first change (the collection's `rests`).
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from jotunheim.data.job import JobStatus, JobType
from jotunheim.data.server.change import SETS_FIREWALL
from jotunheim.data.server.requests import Backups
from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, PlacementError
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.infrastructure import Template
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import state
from jotunheim.services.servers import live
from jotunheim.settings import Settings

PLAN_LIFETIME = timedelta(hours=24)
"""How long after its preview has ended a plan can be applied."""


@dataclass(frozen=True)
class Manner:
    """How a change is asked for.

    Attributes:
        check: only as a preview.
        plan: apply exactly this one.
        request: what is asked for, without passwords; a preview keeps it.
    """

    check: bool = False
    plan: Plan | None = None
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def planned(self) -> Mapping[str, Any] | None:
        """The parameters of the previewed job, which the real one gets too."""
        return self.plan.preview.parameters if self.plan else None


AT_ONCE = Manner()
"""Asked for without a preview."""


def find(id_: uuid.UUID, type_: JobType, server_id: uuid.UUID | None, owner_id: int | None) -> Plan:
    """The plan that a preview made, when a request may apply it.

    Args:
        type_, server_id: what the request is about; no server: a creation.
        owner_id: only a preview on this user's servers.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it is no preview that succeeded, was one of something else, is too old or was applied.
    """
    job = Job.find(id_, owner_id)
    if job is None:
        raise NotFoundError("job", id_)
    plan = Plan.of_preview(id_)
    if plan is None or plan.seen is None or job.status != JobStatus.SUCCEEDED or job.finished_at is None:
        raise ConflictError(f"Job {id_} is no preview that succeeded.", hint="Preview with ?check=true.")
    if job.type != type_:
        raise ConflictError(f"Job {id_} is a preview of {job.type}, and this is {type_}.")
    if job.server_uuid != server_id:
        raise ConflictError(f"Job {id_} is a preview of another server.")
    if now() - job.finished_at > PLAN_LIFETIME:
        hours = PLAN_LIFETIME // timedelta(hours=1)
        raise ConflictError(f"The preview {id_} is older than {hours} hours.", hint="Preview again.")
    _assert_unapplied(plan)
    return plan


def assert_unmoved(plan: Plan, keyring: Keyring, settings: Settings) -> None:
    """Compare the node's state with the previewed one. Call it outside of a transaction: the node is asked.

    Raises:
        ConflictError: it has moved; the details name what.
        NodeUnavailableError: the node gives no usable answer.
    """
    node = plan.preview.node
    if node is None:
        raise moved(["node"])
    names = state.moved(plan.seen, live.state_of(node, plan.watched, keyring, settings))
    if names:
        raise moved(names)


def assert_recorded(plan: Plan) -> None:
    """Make sure that nobody has applied a plan, and that our own record is the one that it rests on.

    Call it within the transaction that applies it.

    Raises:
        ConflictError: it was applied, or the record has moved.
    """
    current = Plan.of_preview(plan.preview_id)
    if current is None:
        raise moved(["record"])
    _assert_unapplied(current)
    if plan.record is not None:
        server: Server | None = plan.preview.server
        if server is None or _record_of(server) != plan.record:
            raise moved(["record"])


def assert_same(planned: Mapping[str, Any], parameters: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Make sure that what was derived from the request is what the preview derived.

    Args:
        names: what a parameter is called in the error; any other is part of the record.

    Raises:
        ConflictError: it is not.
    """
    told = json.loads(json.dumps(parameters))
    differing = [name for name in planned.keys() | told.keys() if planned.get(name) != told.get(name)]
    if differing:
        raise moved({names.get(name, "record") for name in differing})


@contextmanager
def pinned(what: str) -> Iterator[None]:
    """A part of a transaction that reserves what a plan has shown; what is not free any more has moved."""
    try:
        yield
    except PlacementError:
        raise moved([what]) from None


def settle(manner: Manner, job: Job, server: Server | None, **watched: Any) -> None:
    """Keep what a preview needs to become a plan, or note that the job applies one.

    Args:
        job: the one that was queued.
        server: whose record counts, as it is in the store; None: it is still to be made, and `watched` says what of the node counts.

    Raises:
        ConflictError: another request was faster to apply the plan, or the job would do something else.
    """
    if manner.check:
        Plan.create(
            preview=job,
            request=dict(manner.request),
            record=None if server is None else _record_of(Server.get_by_id(server.id)),
            watched=watched if server is None else _watched(job, server),
        )
    elif manner.plan is not None and not manner.plan.apply(job):
        raise ConflictError(f"The plan {manner.plan.preview_id} was applied just now.")


def moved(names: Iterable[str]) -> ConflictError:
    """The error that says what is no longer as a preview found it."""
    found = sorted(set(names))
    return ConflictError(
        f"Since the preview this has moved: {', '.join(found)}.",
        details=[FieldProblem(name, "is no longer as the preview found it") for name in found],
        hint="Preview again.",
    )


def _assert_unapplied(plan: Plan) -> None:
    if plan.applied_by_id is not None:
        raise ConflictError(
            f"The plan {plan.preview_id} was applied already.",
            details=[FieldProblem("job_id", str(plan.applied_by_id))],
            hint="A plan is applied once. Preview again.",
        )


def _record_of(server: Server) -> dict[str, str]:
    return {"version": server.version, "status": str(server.status)}


def _watched(job: Job, server: Server) -> dict[str, Any]:
    """What of the node counts for a job about a server that exists: the arguments of `state.read`."""
    watched: dict[str, Any] = {"vmid": server.vmid}
    match job.type:
        case JobType.REBUILD:
            watched["template_vmid"] = Template.get_by_id(job.parameters["template_id"]).vmid
            watched["scratch_vmid"] = job.parameters["scratch_vmid"]
            watched["firewall"] = True
        case JobType.FIREWALL:
            watched["firewall"] = True
        case JobType.CONFIGURE:
            fields = job.parameters["fields"]  # none are all
            watched["firewall"] = not fields or not SETS_FIREWALL.isdisjoint(fields)
        case JobType.BACKUP_RESTORE | JobType.BACKUP_LOCK | JobType.BACKUP_UNLOCK | JobType.BACKUP_DELETE:
            watched["backup_storage"] = Backup.get_by_id(job.parameters["backup_id"]).storage
            watched["firewall"] = job.type == JobType.BACKUP_RESTORE
        case JobType.DELETE if job.parameters["backups"] == Backups.DELETE:
            watched["backup_storage"] = server.node.backup_storage
    return watched
