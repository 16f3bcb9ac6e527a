"""Servers: rows, their legal transitions, their labels, and the queries on them."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import (
    JOIN,
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
    UUIDField,
    fn,
)

from jotunheim.data.server.status import Power, ServerStatus
from jotunheim.exceptions.model import IllegalTransitionError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import (
    Table,
    UtcField,
    Versioned,
    now,
    unique,
)
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template

TRANSITIONS: Mapping[ServerStatus, frozenset[ServerStatus]] = {
    ServerStatus.BUILDING: frozenset({ServerStatus.READY, ServerStatus.BUILD_FAILED}),
    ServerStatus.BUILD_FAILED: frozenset({ServerStatus.BUILDING, ServerStatus.DELETING}),
    ServerStatus.READY: frozenset({ServerStatus.REBUILDING, ServerStatus.RESTORING, ServerStatus.DELETING}),
    ServerStatus.REBUILDING: frozenset({ServerStatus.READY}),
    ServerStatus.RESTORING: frozenset({ServerStatus.READY, ServerStatus.RESTORE_FAILED}),
    ServerStatus.RESTORE_FAILED: frozenset({ServerStatus.RESTORING, ServerStatus.DELETING}),
    ServerStatus.DELETING: frozenset(
        {
            ServerStatus.DELETE_FAILED,
            ServerStatus.READY,
            ServerStatus.BUILD_FAILED,
            ServerStatus.RESTORE_FAILED,
        }
    ),
    ServerStatus.DELETE_FAILED: frozenset({ServerStatus.DELETING}),
}
"""From each status to those that may follow it."""


OPEN_FIREWALL: Mapping[str, Any] = {
    "enabled": False,
    "policy_in": "ACCEPT",
    "policy_out": "ACCEPT",
    "rules": [],
}
"""A firewall that lets everything pass."""


@dataclass(frozen=True)
class Reserved:
    """What the servers on one node with disks on one storage may use."""

    node_id: int
    storage: str | None
    memory_bytes: int
    disk_bytes: int
    servers: int


class Server(Versioned, Table):
    """One virtual machine that we own. The id is the VM's SMBIOS UUID."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    vmid = IntegerField(unique=True)
    """Unique over all nodes: nodes of one cluster share their VMIDs."""
    name = CharField()
    hostname = CharField()
    status = CharField(max_length=16, default=ServerStatus.BUILDING)
    power = CharField(max_length=16, default=Power.UNKNOWN)
    owner = ForeignKeyField(User, backref="servers", on_delete="RESTRICT")
    owner_id: int
    node = ForeignKeyField(Node, backref="servers", on_delete="RESTRICT")
    node_id: int
    template = ForeignKeyField(Template, backref="servers", null=True, on_delete="RESTRICT")
    """What it is rebuilt from; None: it was imported or made from a backup, and nobody has said."""
    template_id: int | None
    imported = BooleanField(default=False)
    """Its VM was made by somebody else, and was not rebuilt since."""
    cpu = IntegerField()
    memory_bytes = BigIntegerField()
    disk_bytes = BigIntegerField(null=True)
    """None: as large as the template's, until a build has read it back."""
    ssh_keys = JSONField(default=list)
    tags = JSONField(default=list)
    limits = JSONField(default=dict)
    external_id = CharField(null=True)
    description = TextField(default="")
    network = JSONField(default=dict)
    """What was set of the first network device: a `NetworkChange` without what it leaves out."""
    cloud_init = JSONField(default=dict)
    """What was set for cloud-init: a `CloudInitChange` without what it leaves out."""
    mac = CharField(max_length=17, null=True, unique=True)
    """Of the first network device, upper case; None: Proxmox VE has chosen it."""
    boot_order = JSONField(null=True)
    iso = CharField(null=True)
    """The image in its drive, a volume of the node's `iso_storage`; None: the drive is empty, or there is none."""
    agent = BooleanField(default=True)
    anti_spoofing = BooleanField(default=True)
    """Whether it can only send from its own MAC and IP addresses."""
    firewall = JSONField(null=True, default=lambda: dict(OPEN_FIREWALL))
    """A `Firewall` without its rulesets. None: nobody has said yet what rules it shall have; those on the node stay."""
    start_after_build = BooleanField(default=True)
    protected = BooleanField(default=False)
    expires_at = UtcField(null=True, index=True)
    suspended_at = UtcField(null=True)
    suspension_reason = CharField(null=True)
    suspended_from = JSONField(null=True)
    """While suspended: what it was before, `{"power": "running"}`; None until that has been read."""
    suspended_by_quota = BooleanField(default=False)
    """While suspended: only since it has used up its traffic, so that this ends by itself."""
    throttle_bytes_per_second = BigIntegerField(null=True)
    """What its network device shall be held to since it has used up its traffic; None: only to its own limit."""
    throttle_set_bytes_per_second = BigIntegerField(null=True)
    """The same, as a job has set it."""
    storage = CharField(null=True)
    """Where its disks are."""
    missing_since = UtcField(null=True)
    """Since when no node of its cluster has its VM, as far as syncs have seen."""
    restored_from = UUIDField(null=True, index=True)
    """Until it is built: the backup that it is made from."""
    scratch_vmid = IntegerField(null=True, unique=True)
    """While it is rebuilt: the VMID under which the new disk is made."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        indexes = ((("owner", "name"), True), (("owner", "external_id"), True), (("status",), False))

    @property
    def password_reference(self) -> str:
        """Name of the secret that holds a new password until a job has handed it over."""
        return f"server/{self.id}/password"

    @property
    def account(self) -> str:
        """The account inside the guest that gets keys and password."""
        chosen: str | None = self.cloud_init.get("user")
        if chosen or self.template is None:
            return chosen or "root"
        chosen = self.template.user
        return chosen or ("Administrator" if self.template.os_family == "windows" else "root")

    @property
    def made_from(self) -> Template:
        """The template of a server that is built or rebuilt; it has one."""
        assert self.template is not None
        return self.template

    @property
    def needs_firewall(self) -> bool:
        """Whether Proxmox VE's firewall must see what it sends and gets."""
        return bool(self.anti_spoofing or (self.firewall or {}).get("enabled"))

    @property
    def is_suspended(self) -> bool:
        """Whether its owner must not start it."""
        return self.suspended_at is not None

    @property
    def throttle_is_due(self) -> bool:
        """Whether its network device is not yet held to what quota says."""
        return bool(self.throttle_bytes_per_second != self.throttle_set_bytes_per_second)

    @property
    def is_expired(self) -> bool:
        """Whether its time is over, and nobody protects it."""
        return self.expires_at is not None and self.expires_at <= now() and not self.protected

    @classmethod
    def with_places(cls) -> Any:
        """A select of servers with node, location and template joined."""
        query = cls.select(cls, Node, Location, Template).join(Node).join(Location).switch(cls)
        return query.join(Template, JOIN.LEFT_OUTER)

    @classmethod
    def in_location(cls, location_id: int) -> Any:
        """The condition that the node of a server stands in this location."""
        return cls.node.in_(Node.select(Node.id).where(Node.location == location_id))

    @classmethod
    def place(cls, servers: "Iterable[Server]") -> None:
        """Give servers their nodes, with locations, and templates: many have the same, and joined rows would make them anew for each."""
        rows = list(servers)
        node_ids, template_ids = {row.node_id for row in rows}, {row.template_id for row in rows} - {None}
        with_location = Node.select(Node, Location).join(Location)
        nodes = {node.id: node for node in with_location.where(Node.id.in_(node_ids))}
        templates = {row.id: row for row in Template.select().where(Template.id.in_(template_ids))}
        for row in rows:
            row.node = nodes[row.node_id]
            if row.template_id is not None:
                row.template = templates[row.template_id]

    @classmethod
    def vmids_among(cls, vmids: Iterable[int]) -> set[int]:
        """Those of these VMIDs that our servers have."""
        wanted = set(vmids)
        query = cls.select(cls.vmid, cls.scratch_vmid).where(
            cls.vmid.in_(list(wanted)) | cls.scratch_vmid.in_(list(wanted))
        )
        used = {vmid for server in query for vmid in (server.vmid, server.scratch_vmid) if vmid}
        return used & wanted

    @classmethod
    def macs_among(cls, macs: Iterable[str]) -> set[str]:
        """Those of these MAC addresses that our servers have."""
        return {server.mac for server in cls.select(cls.mac).where(cls.mac.in_(list(macs))) if server.mac}

    @classmethod
    def macs_with(cls, prefix: str) -> set[str]:
        """The MAC addresses of our servers that begin so."""
        return {server.mac for server in cls.select(cls.mac).where(cls.mac.startswith(prefix)) if server.mac}

    @classmethod
    def expired(cls, at: datetime) -> "list[Server]":
        """Servers whose time is over and that may be deleted, the oldest first."""
        query = cls.select().where((cls.expires_at <= at) & ~cls.protected).order_by(cls.expires_at)
        return list(query)

    @classmethod
    def by_vmid(cls, vmids: Iterable[int]) -> "dict[int, Server]":
        """The servers that have these VMIDs, or are rebuilt beside them, by VMID."""
        wanted = set(vmids)
        found = cls.select().where(cls.vmid.in_(list(wanted)) | cls.scratch_vmid.in_(list(wanted)))
        pairs = [(vmid, server) for server in found for vmid in (server.vmid, server.scratch_vmid)]
        return {vmid: server for vmid, server in pairs if vmid in wanted}

    @classmethod
    def ids_among(cls, ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
        """Those of these ids that servers have."""
        return {server.id for server in cls.select(cls.id).where(cls.id.in_(list(ids)))}

    @classmethod
    def being_made_from(cls, backups: Iterable[uuid.UUID]) -> "list[Server]":
        """The servers that are being made from these backups."""
        being_made = cls.status == ServerStatus.BUILDING
        return list(cls.select().where(cls.restored_from.in_(list(backups)) & being_made))

    @classmethod
    def on(cls, node: Node) -> "list[Server]":
        """The servers of a node."""
        return list(cls.select().where(cls.node == node))

    @classmethod
    def held_by_quota(cls, passed: Any) -> "list[Server]":
        """Servers that quota holds to something, or should let go, with their nodes.

        Args:
            passed: a select of the ids of those that have passed a threshold.
        """
        wanted, is_set = cls.throttle_bytes_per_second, cls.throttle_set_bytes_per_second
        throttled = wanted.is_null(False) | is_set.is_null(False)
        held = throttled | cls.suspended_by_quota | cls.id.in_(passed)
        return list(cls.select(cls, Node).join(Node).where(held).order_by(cls.updated_at, cls.id))

    @classmethod
    def reserved_on(cls, node_ids: Iterable[int]) -> list[Reserved]:
        """What the servers on nodes may use, whatever they are doing; one query."""
        query: Any = (
            cls.select(
                cls.node,
                cls.storage,
                fn.SUM(cls.memory_bytes),
                fn.COALESCE(fn.SUM(cls.disk_bytes), 0),
                fn.COUNT(cls.id),
            )
            .where(cls.node.in_(list(node_ids)))
            .group_by(cls.node, cls.storage)
            .tuples()
        )
        return [
            Reserved(node, storage, int(memory), int(disk), servers)
            for node, storage, memory, disk, servers in query
        ]

    @classmethod
    def elsewhere(cls, node: Node, vmids: Iterable[int]) -> "list[Server]":
        """Servers that have these VMIDs and are recorded on another node, with that node."""
        query = cls.select(cls, Node).join(Node).where(cls.vmid.in_(list(vmids)) & (cls.node != node))
        return list(query)

    def mark_building(self) -> None:
        """A build begins, or begins again after a failed one."""
        self._move(ServerStatus.BUILDING)

    def mark_ready(self, power: Power, disk_bytes: int | None) -> None:
        """Build or rebuild are done; this is what was read back."""
        self._move(ServerStatus.READY, power=power, disk_bytes=disk_bytes, restored_from=None)

    def mark_build_failed(self) -> None:
        """The build ended without a server."""
        self._move(ServerStatus.BUILD_FAILED)

    def mark_rebuilding(self) -> None:
        """A new system disk is being made."""
        self._move(ServerStatus.REBUILDING)

    def mark_rebuild_failed(self) -> None:
        """The rebuild ended without success; the server is what it was, or the job can be repeated."""
        self._move(ServerStatus.READY)

    def mark_restoring(self) -> None:
        """It is being put back to a backup."""
        self._move(ServerStatus.RESTORING)

    def mark_restore_failed(self) -> None:
        """Its disks are gone or a part of what they were; another restore makes it whole."""
        self._move(ServerStatus.RESTORE_FAILED, power=Power.STOPPED)

    def mark_deleting(self) -> None:
        """The VM is being destroyed."""
        self._move(ServerStatus.DELETING)

    def mark_delete_failed(self) -> None:
        """Something of the VM may be left; deleting can be repeated."""
        self._move(ServerStatus.DELETE_FAILED)

    def mark_kept(self, before: ServerStatus) -> None:
        """Deleting or restoring was called off before anything was done; the server is what it was before."""
        self._move(before)

    def record_power(self, power: Power) -> None:
        """Remember whether the VM runs, as the hypervisor says."""
        if self.power != power:  # not `change`: nothing that a caller may set was changed
            Server.update(power=power).where(Server.id == self.id).execute()
            self.power = power

    def follow(self, node: Node, vmid: int) -> None:
        """Its VM is on another node now, perhaps under another VMID.

        Raises:
            UniquenessError: another server has that VMID.
        """
        with unique(f"VM {vmid} of node {node.name} is server {self.name}, and another server has its VMID."):
            self.change(node=node, vmid=vmid, missing_since=None)

    def note_missing(self) -> None:
        """No node of its cluster has its VM."""
        since = self.missing_since or now()
        Server.update(missing_since=since, power=Power.UNKNOWN).where(Server.id == self.id).execute()
        self.missing_since, self.power = since, Power.UNKNOWN

    @classmethod
    def note_present(cls, node: Node, vmids: Iterable[int]) -> None:
        """Its node has these VMs."""
        back = (cls.node == node) & cls.vmid.in_(list(vmids)) & cls.missing_since.is_null(False)
        cls.update(missing_since=None).where(back).execute()

    def suspend(self, reason: str, *, by_quota: bool = False) -> None:
        """From now on the owner cannot start it; what it was before is read by the job that stops it.

        Args:
            by_quota: nobody but quota wants it; a person's suspension does not become quota's.
        """
        by_quota = by_quota and (self.suspended_at is None or self.suspended_by_quota)
        at = self.suspended_at or now()
        self.change(suspended_at=at, suspension_reason=reason, suspended_by_quota=by_quota)

    def remember_before_suspension(self, power: Power) -> None:
        """Keep what unsuspending brings back; the first answer stands, for a repeated job finds it stopped."""
        if self.suspended_from is None:
            self.change(suspended_from={"power": power})

    def unsuspend(self) -> None:
        """The owner may start it again."""
        self.change(suspended_at=None, suspension_reason=None, suspended_from=None, suspended_by_quota=False)

    def throttle(self, bytes_per_second: int | None) -> None:
        """Let its network device be held to this rate from now on; a job sees to it."""
        self._note(throttle_bytes_per_second=bytes_per_second)

    def note_throttle(self, bytes_per_second: int | None) -> None:
        """Its network device is held to this rate."""
        self._note(throttle_set_bytes_per_second=bytes_per_second)

    @classmethod
    def names_where(cls, condition: Any, limit: int) -> tuple[list[str], int]:
        """Names of some servers that meet a condition, and how many there are."""
        query = cls.select(cls.name).where(condition).order_by(cls.name)
        return [server.name for server in query.limit(limit)], query.count()

    def move_to_vmid(self, vmid: int) -> None:
        """Take another VMID, before a VM exists: the first one turned out to be in use on the node."""
        self.change(vmid=vmid)

    def _note(self, **columns: object) -> None:
        """Set columns that no caller sees: not `change`, for the version stays."""
        Server.update(**columns).where(Server.id == self.id).execute()
        for name, value in columns.items():
            setattr(self, name, value)

    def _move(self, wanted: ServerStatus, **columns: object) -> None:
        current = ServerStatus(self.status)
        if current is wanted:
            return
        if wanted not in TRANSITIONS[current]:
            raise IllegalTransitionError(f"Server {self.name}", current, wanted)
        moved = (
            Server.update(status=wanted, updated_at=now(), **columns)
            .where((Server.id == self.id) & (Server.status == current))
            .execute()
        )
        if not moved:
            raise IllegalTransitionError(f"Server {self.name}", "no longer " + current, wanted)
        self.status = wanted
