"""What nodes tell about themselves, and what is made of it. Nothing of it is an operator's decision."""

import uuid
from datetime import datetime
from enum import StrEnum

from jotunheim.data.fields import View


class NodeStatus(StrEnum):
    """Whether a node's API can be used."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    OFFLINE = "offline"


class SyncError(View):
    """Why a node could not be asked."""

    code: str
    message: str


class StorageView(View):
    """A storage as a node sees it."""

    name: str
    type: str
    content: list[str]
    """What may be put there, e.g. `images`."""
    shared: bool
    active: bool
    total_bytes: int | None
    used_bytes: int | None
    reserved_bytes: int | None
    """Of the node's `vm_storage`: what disks there may grow to, our servers' and others'."""
    available_bytes: int | None
    """Of the node's `vm_storage`: what new servers can get, with `disk_overcommit`."""


class NodeStateView(View):
    """A node as its last sync has found it, and how much of it is given away."""

    status: NodeStatus
    status_since: datetime | None
    synced_at: datetime | None
    error: SyncError | None
    """Why the last sync failed."""
    lacking: list[str]
    """What the node would not tell, in its words: privileges that the token lacks."""
    version: str | None
    cpu_count: int | None
    memory_bytes: int | None
    memory_reserved_bytes: int
    """What our servers, and the VMs of others that run there, may use."""
    memory_available_bytes: int | None
    """What new servers can get, with `memory_overcommit`."""
    disk_bytes: int | None
    disk_reserved_bytes: int
    disk_available_bytes: int | None
    """As memory, of the `vm_storage`."""
    servers: int
    bridges: list[str]
    peers: list[str]
    """The nodes of its cluster, itself among them."""


class Usage(View):
    """How a node is used at one moment, or on average over a stretch of time."""

    cpu: float
    """0 to 1."""
    memory_used_bytes: float
    memory_bytes: int
    storage_used_bytes: float | None
    """Of the `vm_storage`."""
    storage_bytes: int | None
    running: float
    """VMs that run."""


class UsageView(Usage):
    """The mean over `resolution_seconds` from `at` on."""

    at: datetime


class Moved(View):
    """A server whose VM a sync found on another node."""

    server_id: uuid.UUID
    name: str
    from_node: str
    to_node: str
    vmid: int
