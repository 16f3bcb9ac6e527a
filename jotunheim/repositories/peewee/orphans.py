"""Orphans: what scans of nodes have found there that has our mark and no record; and the records that it is held against."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    UUIDField,
)

from jotunheim.data.job import JobStatus, JobType
from jotunheim.data.node.orphan import OrphanKind
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.jobs import LIVE, Job
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.vmids import ForeignVmid


class Orphan(Table):
    """Something on a node. It is forgotten when a scan does not find it again, or its record has come back."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    node = ForeignKeyField(Node, backref="orphans", on_delete="CASCADE")
    node_id: int
    key = CharField()
    """What it is on its node, to be known again."""
    kind = CharField(max_length=16)
    vmid = IntegerField()
    name = CharField()
    mark = UUIDField(null=True)
    storage = CharField(null=True)
    volume = CharField(null=True)
    size_bytes = BigIntegerField(null=True)
    protected = BooleanField(default=False)
    cautions = JSONField(default=list)
    found_at = UtcField(default=now)
    seen_at = UtcField(default=now)

    class Meta:
        indexes = ((("node", "key"), True),)

    @classmethod
    def with_node(cls) -> Any:
        """A select of orphans with their nodes."""
        return cls.select(cls, Node).join(Node)

    @classmethod
    def record_found(
        cls, node: Node, found: Iterable[Mapping[str, Any]], stays: Callable[["Orphan"], bool]
    ) -> tuple[int, int]:
        """What a scan has found on a node, in place of what earlier ones have; call it with the node held.

        Args:
            found: columns, `key` among them.
            stays: whether it could not look at one: then what was known of it stays.

        Returns:
            How many are new, and how many are no more.
        """
        known = {orphan.key: orphan for orphan in cls.select().where(cls.node == node)}
        busy = cls.live_jobs(known.values())
        at, new = now(), 0
        for columns in found:
            before = known.pop(columns["key"], None)
            if before is None:
                cls.create(node=node, found_at=at, seen_at=at, **columns)
                new += 1
            else:
                cls.update(seen_at=at, **columns).where(cls.id == before.id).execute()
        gone = [orphan.id for orphan in known.values() if orphan.id not in busy and not stays(orphan)]
        cls.delete().where(cls.id.in_(gone)).execute()
        return new, len(gone)

    @classmethod
    def live_jobs(cls, orphans: Iterable["Orphan"]) -> dict[uuid.UUID, uuid.UUID]:
        """The jobs that are queued or running to prune orphans, by the orphans' ids."""
        wanted = {orphan.id for orphan in orphans}
        live = (Job.type == JobType.ORPHAN_PRUNE) & Job.status.in_(LIVE)
        found = {uuid.UUID(job.parameters["orphan_id"]): job.id for job in Job.select().where(live)}
        return {id_: job for id_, job in found.items() if id_ in wanted}

    @classmethod
    def job_removing(cls, node: Node, vmid: int) -> uuid.UUID | None:
        """The job that is queued or running to prune a VM; call it with the node held."""
        vms = cls.select().where((cls.node == node) & (cls.vmid == vmid) & (cls.kind == OrphanKind.VM))
        return next(iter(cls.live_jobs(vms).values()), None)

    def forget(self) -> None:
        """It is gone."""
        self.delete_instance()


@dataclass(frozen=True)
class Records:
    """What our records say is ours.

    Attributes:
        vmids: of servers, templates and VMs that are known to be somebody else's.
        scratch_vmids: where servers are being rebuilt, by server id.
    """

    servers: frozenset[uuid.UUID]
    backups: frozenset[uuid.UUID]
    vmids: frozenset[int]
    scratch_vmids: Mapping[uuid.UUID, int]

    @classmethod
    def read(cls) -> "Records":
        """As they are now; four queries."""
        servers = list(Server.select(Server.id, Server.vmid, Server.scratch_vmid))
        scratch = {server.id: server.scratch_vmid for server in servers if server.scratch_vmid}
        return cls(
            servers=frozenset(server.id for server in servers),
            backups=frozenset(backup.id for backup in Backup.select(Backup.id)),
            vmids=frozenset(
                {server.vmid for server in servers}
                | set(scratch.values())
                | {template.vmid for template in Template.select(Template.vmid)}
                | {foreign.vmid for foreign in ForeignVmid.select(ForeignVmid.vmid)}
            ),
            scratch_vmids=scratch,
        )

    def and_later(self, later: "Records") -> "Records":
        """What was ours at one of two times: nothing of that is an orphan of the time between."""
        return Records(
            self.servers | later.servers,
            self.backups | later.backups,
            self.vmids | later.vmids,
            {**self.scratch_vmids, **later.scratch_vmids},
        )


def nodes_not_scanned_since(at: datetime) -> list[Node]:
    """The nodes on which nobody was asked to look for orphans since then."""
    looks = (Job.type == JobType.NODE_SCAN) & (Job.created_at > at)
    scanned = Job.select(Job.node).where(looks & Job.node.is_null(False))  # those of deleted nodes have none
    return list(Node.select().where(Node.id.not_in(scanned)).order_by(Node.id))


def servers_once_known() -> set[uuid.UUID]:
    """Ids of all servers that jobs and backups have ever been about; not of VMs that were to be imported, and were not."""
    given_up = (Job.type == JobType.IMPORT) & Job.status.in_((JobStatus.FAILED, JobStatus.CANCELLED))
    of_jobs: Any = Job.select(Job.server_uuid).where(Job.server_uuid.is_null(False) & ~given_up).distinct()
    of_backups: Any = Backup.select(Backup.server_uuid).distinct()
    return {id_ for query in (of_jobs, of_backups) for (id_,) in query.tuples()}


def backups_once_known() -> set[uuid.UUID]:
    """Ids of all backups that jobs have ever made."""
    query: Any = Job.select(Job.parameters["backup_id"].as_text()).where(Job.type == JobType.BACKUP_CREATE)
    return {uuid.UUID(id_) for (id_,) in query.tuples().iterator()}
