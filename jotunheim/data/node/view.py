"""What the API answers about infrastructure. Token secrets are in none of it."""

import uuid
from datetime import datetime
from enum import StrEnum

from jotunheim.data.fields import View
from jotunheim.data.node.policy import PlacementPolicy
from jotunheim.data.node.state import NodeStateView


class LocationView(View):
    """A location."""

    id: int
    name: str
    short_code: str
    placement_policy: PlacementPolicy | None
    created_at: datetime
    updated_at: datetime


class TlsView(View):
    """How a node's certificate is verified."""

    verify: bool
    ca_pem: str | None
    fingerprint: str | None


class NodeView(View):
    """A node, without its token secret."""

    id: int
    name: str
    location_id: int
    host: str
    port: int
    token_id: str
    tls: TlsView
    vm_storage: str
    backup_storage: str
    iso_storage: str
    bridge: str
    memory_overcommit: float
    disk_overcommit: float
    max_concurrent_clones: int
    drained: bool
    """Whether it takes no new servers."""
    labels: dict[str, str]
    state: NodeStateView
    """What it told last."""
    created_at: datetime
    updated_at: datetime


class Check(View):
    """One thing that was looked at on a node."""

    name: str
    """`connection`, `certificate`, `token`, `version`, `node`, `permissions`, `storage …` or `firewall`."""
    ok: bool
    message: str
    hint: str | None = None


class NodeTest(View):
    """What a node answered when it was tried out."""

    ok: bool
    code: str | None
    """Code of the first failure, e.g. `node_unavailable`."""
    version: str | None
    checks: list[Check]


class TemplateView(View):
    """A template."""

    id: int
    name: str
    node_id: int
    vmid: int
    group_id: int | None
    os_family: str
    default_user: str | None
    minimum_disk_bytes: int | None
    minimum_memory_bytes: int | None
    hidden: bool
    position: int
    missing_since: datetime | None
    """Since when its node has it no more; servers are not made from it."""
    created_at: datetime
    updated_at: datetime


class ClientTemplateView(View):
    """A template as an owner sees it who may rebuild a server from it."""

    id: int
    name: str
    os_family: str
    default_user: str | None
    minimum_disk_bytes: int | None
    minimum_memory_bytes: int | None


class TemplateGroupView(View):
    """A template group."""

    id: int
    name: str
    os_family: str
    default_user: str | None
    minimum_disk_bytes: int | None
    minimum_memory_bytes: int | None
    hidden: bool
    position: int
    template_ids: list[int]
    node_ids: list[int]
    """Where it stands."""
    created_at: datetime
    updated_at: datetime


class AddressPoolView(View):
    """An address pool and how much of it is free."""

    id: int
    name: str
    family: str
    first: str
    last: str
    prefix_length: int
    gateway: str | None
    vlan: int | None
    nameservers: list[str]
    node_ids: list[int]
    mac_prefix: str | None
    quarantine_seconds: int
    delegated_prefix_length: int | None
    """Of the prefixes that the pool has instead of addresses; `first` and `last` are where they begin."""
    total: int
    free: int
    """What servers can get: neither theirs nor reserved nor in quarantine."""
    reserved: int
    quarantined: int
    created_at: datetime
    updated_at: datetime


class AddressState(StrEnum):
    """Whether a server can get an address, and if not, why."""

    FREE = "free"
    ALLOCATED = "allocated"
    RESERVED = "reserved"
    QUARANTINED = "quarantined"


class AddressView(View):
    """One address of a pool, or one prefix that it delegates."""

    address: str
    state: AddressState
    server_id: uuid.UUID | None
    reserved_for: str | None
    allocated_at: datetime | None
    quarantined_until: datetime | None
    """Until then it goes to no other server than the one that had it last."""
