"""What the last look at each server's VM has found to be other than recorded."""

import hashlib
import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, BooleanField, CharField, ForeignKeyField, IntegerField, JSONField

from jotunheim.data.job import JobStatus, JobType
from jotunheim.data.server.drift import DriftStatus
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions import JotunheimError
from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import LIVE, Job
from jotunheim.repositories.peewee.servers import Server

AGAIN_FIRST = timedelta(minutes=1)
AGAIN_LAST = timedelta(hours=1)
"""How long after it could not be looked at a VM is looked at again, at first and at last."""


@dataclass(frozen=True)
class Compared:
    """What became of the look at one server's VM.

    Attributes:
        server: as it was when it was compared.
        asked_at: when that began.
        told: `drift` of the plugin `vm_drift`.
        diff: the differences as the steps of a job show them.
        error: why there is nothing told.
    """

    server: Server
    asked_at: datetime
    told: Mapping[str, Any] = field(default_factory=dict)
    diff: Sequence[Mapping[str, Any]] = ()
    error: JotunheimError | None = None


class Drift(Table):
    """How a server's VM differed from our record when it was looked at last."""

    server = ForeignKeyField(Server, primary_key=True, backref="drift", on_delete="CASCADE")
    server_id: uuid.UUID
    status = CharField(max_length=16, default=DriftStatus.UNKNOWN, index=True)
    checked_at = UtcField(default=now)
    found_at = UtcField(null=True)
    differences = JSONField(default=list)
    """`{"field", "setting", "recorded", "found"}` of each; while it is unknown, those that were found before."""
    diff = JSONField(default=list)
    acceptable = JSONField(default=dict)
    """The value that accepting would record, by field."""
    identified = BooleanField(default=False)
    """Whether the VM has the server's SMBIOS UUID: only then a sweep touches it by itself."""
    digest = CharField(null=True)
    """Proxmox VE's, over the configuration that was looked at."""
    error = JSONField(null=True)
    """Why it is unknown: `{"code", "message"}`."""
    failures = IntegerField(default=0)
    """How often in a row it could not be looked at."""
    again_at = UtcField(null=True)
    """When it is looked at again, before the next sweep; None: it is not."""
    reasserted_at = UtcField(null=True)
    reassertions = IntegerField(default=0)
    """How often in a row a sweep has tried to put it right by itself."""

    class Meta:
        table_name = "drift"

    @property
    def version(self) -> str:
        """What changes with what was found."""
        told = json.dumps([self.status, self.differences, self.digest], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @classmethod
    def with_servers(cls) -> Any:
        """A select of drift with server and node joined."""
        return cls.select(cls, Server, Node).join(Server).join(Node)

    @classmethod
    def of(cls, server: Server) -> "Drift | None":
        """A server's; None: its VM was never looked at."""
        found: Drift | None = cls.with_servers().where(cls.server == server).first()
        return found

    @classmethod
    def checked_since(cls, node: Node, at: datetime) -> set[uuid.UUID]:
        """Ids of the servers of a node whose VMs were looked at since; not what a clock that ran ahead has dated."""
        since = (cls.checked_at >= at) & (cls.checked_at <= now())
        query = cls.select(cls.server).join(Server).where((Server.node == node) & since)
        return {drift.server_id for drift in query}

    @classmethod
    def record(
        cls,
        server: Server,
        differences: Sequence[Mapping[str, Any]],
        diff: Sequence[Mapping[str, Any]],
        acceptable: Mapping[str, Any],
        *,
        identified: bool,
        digest: str | None,
    ) -> "Drift":
        """Write down what a look has found; returns the row."""
        at, before = now(), cls._row(server)
        status = DriftStatus.DRIFTED if differences else DriftStatus.IN_SYNC
        cls._write(
            server,
            status=status,
            checked_at=at,
            found_at=(before.found_at or at) if differences else None,
            differences=list(differences),
            diff=list(diff),
            acceptable=dict(acceptable),
            identified=identified,
            digest=digest,
            error=None,
            failures=0,
            again_at=None,
        )
        return cls._row(server)

    @classmethod
    def record_failure(cls, server: Server, code: str, message: str) -> None:
        """Write down that a VM could not be looked at."""
        at, failures = now(), cls._row(server).failures + 1
        pause = min(AGAIN_LAST, AGAIN_FIRST * 2 ** min(failures - 1, 10))
        cls._write(
            server,
            status=DriftStatus.UNKNOWN,
            checked_at=at,
            error={"code": code, "message": message},
            failures=failures,
            again_at=at + pause,
        )

    def note_reassertion(self) -> None:
        """A job was queued to put it right."""
        self._write(self.server, reasserted_at=now(), reassertions=self.reassertions + 1)

    def forget_reassertions(self) -> None:
        """Nothing is left that a sweep puts right by itself."""
        if self.reassertions:
            self._write(self.server, reassertions=0)

    def settle(self, left: Sequence[Mapping[str, Any]], fields: Collection[str]) -> None:
        """Our record has taken over what was found of these fields; this is what still differs."""
        columns = {
            "status": DriftStatus.DRIFTED if left else DriftStatus.IN_SYNC,
            "found_at": self.found_at if left else None,
            "differences": list(left),
            "diff": diff_of(self.diff, left),
            "acceptable": {name: value for name, value in self.acceptable.items() if name not in fields},
        }
        self._write(self.server, **columns)
        for name, value in columns.items():
            setattr(self, name, value)

    @classmethod
    def to_be_looked_at_again(cls, at: datetime) -> "dict[int, list[uuid.UUID]]":
        """Servers that are not to wait for the next sweep, by node id: those that differed when a job has worked on them
        since, and those that could not be looked at. None that a job has.
        """
        later, live = Job.alias(), Job.alias()
        worked = later.select(later.server).where(
            (later.server == cls.server)
            & (later.finished_at > cls.checked_at)
            & (later.finished_at <= at)  # a clock that ran ahead has dated it otherwise
            & ~later.check_only
        )
        busy = live.select(live.server).where(
            (live.server == cls.server) & live.status.in_(LIVE) & live.run_after.is_null()
        )
        wanted = (cls.status == DriftStatus.DRIFTED) & cls.server.in_(worked)
        wanted |= (cls.status == DriftStatus.UNKNOWN) & (cls.again_at <= at)
        query: Any = (
            cls.select(cls, Server)
            .join(Server)
            .where(wanted & cls.server.not_in(busy) & (Server.status == ServerStatus.READY))
        )
        found: dict[int, list[uuid.UUID]] = {}
        for drift in query:
            found.setdefault(drift.server.node_id, []).append(drift.server_id)
        return found

    @classmethod
    def _row(cls, server: Server) -> "Drift":
        return cls.get_or_none(cls.server == server) or cls(server=server)

    @classmethod
    def _write(cls, server: Server, **columns: object) -> None:
        cls.insert(server=server).on_conflict_ignore().execute()
        cls.update(**columns).where(cls.server == server).execute()


def diff_of(diff: Sequence[Mapping[str, Any]], left: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What of a diff is about these differences."""
    settings = {difference["setting"] for difference in left}
    entries = [
        {side: {name: value for name, value in entry[side].items() if name in settings} for side in entry}
        for entry in diff
    ]
    return entries if left else []


class DriftSweep(Table):
    """When the servers of a node were last looked at by a sweep."""

    node = ForeignKeyField(Node, primary_key=True, backref="drift_sweep", on_delete="CASCADE")
    node_id: int
    asked_at = UtcField(null=True)

    class Meta:
        table_name = "drift_sweep"

    @classmethod
    def claim_due(cls, period: timedelta) -> list[Node]:
        """Nodes with servers whose sweep is due, for the caller to see to: nobody else gets the same."""
        at = now()
        late = cls.asked_at.is_null() | (cls.asked_at < at - period) | (cls.asked_at > at)
        used = Server.select(Server.node).distinct()
        due: Any = Node.select().join(cls, JOIN.LEFT_OUTER).where(late & Node.id.in_(used)).order_by(Node.id)
        claimed = []
        for node in due:
            cls.insert(node=node).on_conflict_ignore().execute()
            if cls.update(asked_at=at).where((cls.node == node) & late).execute():
                claimed.append(node)
        return claimed


def queued_look(node: Node, server_ids: Sequence[uuid.UUID] | None) -> Job | None:
    """A job that will look at the VMs of just these servers of a node, None: of all, and has not begun."""
    wanted = None if server_ids is None else [str(id_) for id_ in server_ids]
    waits = (Job.node == node) & (Job.type == JobType.NODE_DRIFT) & (Job.status == JobStatus.QUEUED)
    query = Job.select().where(waits & Job.started_at.is_null())
    return next((job for job in query if job.parameters["servers"] == wanted), None)
