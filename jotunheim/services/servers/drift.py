"""What differs between our records and the VMs: when it is looked for, and what follows from what was found.

A sweep is a job of a node (`node.drift`). It locks no server: what it has found of one that was changed meanwhile, or that a job
has worked on, is older than our record, and is not kept.
"""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.data.server.drift import DriftStatus
from jotunheim.data.server.status import ServerStatus
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.exceptions.repository import ProxmoxVmNotFoundError
from jotunheim.exceptions.service import LockedError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.announcements import announce
from jotunheim.repositories.peewee.database import locking, now, serialize, transaction
from jotunheim.repositories.peewee.drifts import Compared, Drift, DriftSweep, diff_of, queued_look
from jotunheim.repositories.peewee.firewalls import ServerRuleset
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.turns import SWEEP
from jotunheim.services.audit import records
from jotunheim.services.nodes import requests
from jotunheim.services.servers import differences, firewall, pauses
from jotunheim.services.servers.requests import enqueue
from jotunheim.settings import Settings


def look(node: Node, actor: Actor, server: Server | None = None) -> Job:
    """Queue a look at a server's VM, or at those of all servers of a node; a look that is still to be made will do."""
    ids = None if server is None else [server.id]
    return queued_look(node, ids) or _enqueue(node, actor, ids)


def sweep(settings: Settings) -> list[Job]:
    """Queue the looks that are due; returns the jobs."""
    jobs = []
    if settings.drift_sweep_seconds:
        with transaction():
            due = DriftSweep.claim_due(timedelta(seconds=settings.drift_sweep_seconds))
            # One that workers do not get to is not asked for again and again.
            jobs += [
                _enqueue(node, Actor.of_service(SWEEP), None)
                for node in due
                if queued_look(node, None) is None
            ]
    if Drift.to_be_looked_at_again(now()):  # found without a lock
        with transaction():
            serialize("drift")
            for node_id, server_ids in Drift.to_be_looked_at_again(now()).items():
                node = Node.get_by_id(node_id)
                if Job.live_on(node, JobType.NODE_DRIFT) is None:
                    jobs.append(_enqueue(node, Actor.of_service(SWEEP), server_ids))
    return jobs


def waiting(job: Job, node: Node) -> list[Server]:
    """The servers that a job has still to look at, with node and template; those that are not ready have no VM to be compared."""
    wanted = job.parameters["servers"]
    query = Server.with_places().where((Server.node == node) & (Server.status == ServerStatus.READY))
    if wanted is not None:
        query = query.where(Server.id.in_([uuid.UUID(id_) for id_ in wanted]))
    done = Drift.checked_since(node, datetime.fromisoformat(job.parameters["since"]))
    return [server for server in query.order_by(Server.vmid) if server.id not in done]


def begin(job: Job) -> None:
    """Note when a job has begun, so that whoever continues it knows what is done."""
    if job.parameters.get("since") is None:
        with transaction():
            job.assert_lease()
            job.set_parameters(since=now().isoformat())


def record(job: Job, compared: Compared, settings: Settings) -> DriftStatus | None:
    """Write down what a look has found, and queue what puts it right; None: it may be older than our record, and is not kept.

    Raises:
        LeaseLostError: the job belongs to another worker now.
    """
    with transaction():
        job.assert_lease()
        server = _unchanged(compared)
        if server is None:
            return None
        if compared.error is not None:
            Drift.record_failure(server, compared.error.code, compared.error.message)
            return DriftStatus.UNKNOWN
        if not compared.told["exists"] and server.missing_since is None:
            gone = f"Node {server.node.name} has no VM {server.vmid}, and no sync has found out yet whether another one has."
            Drift.record_failure(server, ProxmoxVmNotFoundError.code, gone)
            return DriftStatus.UNKNOWN
        found = differences.of(compared.told)
        if server.throttle_is_due:  # a job of quota has still to set it: nobody has changed anything
            found = [difference for difference in found if difference.setting != differences.RATE]
        told = [difference.model_dump(mode="json") for difference in found]
        row = Drift.record(
            server,
            told,
            diff_of(compared.diff, told),
            differences.acceptable(server, found, compared.told),
            identified=bool(compared.told["identified"]),
            digest=compared.told["digest"],
        )
        if row.found_at is not None and row.found_at == row.checked_at:
            _announce(server, row)
        _reassert(server, row, settings)
        return DriftStatus(row.status)


def _announce(server: Server, row: Drift) -> None:
    """Tell operators that a server has begun to differ."""
    told = {"id": str(server.id), "name": server.name}
    settings = [entry["setting"] for entry in row.differences]
    data = {"server": told, "settings": settings}
    announce(EventKind.SERVER_DRIFTED, owner_id=None, resource=("server", server.id), data=data)


def _unchanged(compared: Compared) -> Server | None:
    """The server, when our record is the one that was compared and nobody has worked on the VM since; held until the transaction ends."""
    known = compared.server
    query = Server.with_places().where(Server.id == known.id)
    server: Server | None = locking(query, Server).first()
    if server is None or server.status != ServerStatus.READY or server.version != known.version:
        return None
    if Job.blocking(server) is not None or job_history.busy_since(server, compared.asked_at):
        return None
    return server


def _reassert(server: Server, row: Drift, settings: Settings) -> None:
    """Queue the job that puts right what nobody may change behind our back: suspension, firewall, ownership mark.

    Only on a VM with the server's SMBIOS UUID: notes can be copied with a VM.
    """
    off = _asserted_by_itself(server, {entry["setting"] for entry in row.differences})
    if off is None:
        row.forget_reassertions()
        return
    if not settings.drift_reassert or not row.identified or not _is_time(row):
        return
    actor = Actor.of_service(SWEEP)
    try:
        if off is JobType.SUSPEND:
            job = enqueue(server, off, actor, {"reason": server.suspension_reason})
        else:
            job = firewall.apply_again(server, actor, check=False)
    except LockedError:  # by a job that was queued just now; the VM is looked at again when that has ended
        return
    row.note_reassertion()
    records.record(
        records.Event(
            "server.drift.reassert",
            records.Who(actor_email=SWEEP, request_id=actor.request_id),
            source=records.WORKER,
            resource_type="server",
            resource_id=server.id,
            message="Somebody else has changed what is kept as recorded.",
            before={"differences": row.differences},
            after={"job": {"id": str(job.id), "type": job.type}},
        )
    )


def _asserted_by_itself(server: Server, settings: Collection[str]) -> JobType | None:
    """The kind of job that puts right what of these settings is asserted by itself; None: nothing is."""
    if server.is_suspended and not {"power", "onboot"}.isdisjoint(settings):
        return JobType.SUSPEND
    filters = {name for name in settings if name.startswith(differences.FIREWALL)}
    if filters == {"firewall.rules"} and ServerRuleset.outdated_ids_of(server):
        filters = set()  # rules of a ruleset that its operator has not applied yet
    return JobType.FIREWALL if filters or not {"mark", "net0.firewall"}.isdisjoint(settings) else None


def _is_time(row: Drift) -> bool:
    if row.reasserted_at is None or not row.reassertions:
        return True
    at: datetime = row.reasserted_at
    return bool(now() >= at + pauses.after(row.reassertions))


def _enqueue(node: Node, actor: Actor, server_ids: Collection[uuid.UUID] | None) -> Job:
    wanted = {"servers": None if server_ids is None else [str(id_) for id_ in server_ids]}
    return requests.enqueue(node, JobType.NODE_DRIFT, actor, wanted)
