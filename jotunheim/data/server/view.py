"""What the API answers about a server."""

from datetime import datetime
from typing import Any
from uuid import UUID

from jotunheim.data.fields import View
from jotunheim.data.server.iso import ClientMountedIso, MountedIso
from jotunheim.data.server.status import Power, ServerStatus


class NodeSummary(View):
    """The node of a server."""

    id: int
    name: str


class LocationSummary(View):
    """The location of a server."""

    id: int
    name: str
    short_code: str


class TemplateSummary(View):
    """What a server was made from."""

    id: int
    name: str


class AddressView(View):
    """An address that a server has from a pool."""

    family: str
    address: str
    prefix_length: int
    gateway: str | None


class Suspension(View):
    """Since when and why a server is suspended."""

    at: datetime
    reason: str


class SnapshotView(View):
    """A snapshot, as the node has it."""

    name: str
    description: str
    with_memory: bool
    parent: str | None
    created_at: datetime


class ServerView(View):
    """A server: what was asked for, and what is so."""

    id: UUID
    vmid: int
    name: str
    hostname: str
    status: ServerStatus
    suspended: Suspension | None
    power: Power
    job_id: UUID | None
    """The job that is queued or running for it."""
    owner_id: int
    node: NodeSummary
    location: LocationSummary
    template: TemplateSummary | None
    """None: it was imported, or made from a backup."""
    imported: bool
    """Its VM was made by somebody else, and was not rebuilt since."""
    cpu: int
    memory_bytes: int
    disk_bytes: int | None
    addresses: list[AddressView]
    delegated_prefixes: list[str]
    """IPv6 prefixes that are the server's: `2001:db8:0:5::/64`."""
    mac: str | None
    """Of the first network device, where a pool says how it begins; null: Proxmox VE chose it."""
    ssh_keys: list[str]
    description: str
    network: dict[str, Any]
    """What was set of the first network device; the rest is as the node and the template have it."""
    cloud_init: dict[str, Any]
    """What was set for cloud-init; the rest follows from template, addresses and host name."""
    boot_order: list[str] | None
    iso: MountedIso | None
    """The image in its CD-ROM drive."""
    agent: bool
    anti_spoofing: bool
    """Whether it can only send from its own MAC address and its own addresses."""
    labels: dict[str, str]
    tags: list[str]
    external_id: str | None
    expires_at: datetime | None
    protected: bool
    limits: dict[str, Any]
    missing_since: datetime | None
    """Since when no node of its cluster has its VM; it may have been deleted by hand."""
    created_at: datetime
    updated_at: datetime


class ClientLocation(View):
    """The location of a server, as its owner sees it."""

    name: str
    short_code: str


class ClientServerView(View):
    """A server as its owner sees it: nothing of nodes, other owners or the operator's own ids."""

    id: UUID
    name: str
    hostname: str
    status: ServerStatus
    suspended: Suspension | None
    power: Power
    job_id: UUID | None
    location: ClientLocation
    template: TemplateSummary | None
    cpu: int
    memory_bytes: int
    disk_bytes: int | None
    addresses: list[AddressView]
    delegated_prefixes: list[str]
    ssh_keys: list[str]
    iso: ClientMountedIso | None
    anti_spoofing: bool
    """Whether it can only send from its own MAC address and its own addresses."""
    labels: dict[str, str]
    tags: list[str]
    expires_at: datetime | None
    protected: bool
    limits: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, server: ServerView) -> "ClientServerView":
        """The owner's part of what an operator sees."""
        return cls.model_validate(server.model_dump())
