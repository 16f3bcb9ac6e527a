"""What can be changed about infrastructure that exists. A field that is left out stays as it is."""

from jotunheim.data.fields import (
    BridgeName,
    Change,
    DnsLabel,
    Host,
    Id,
    MacPrefix,
    MebiBytes,
    Shape,
    ShortText,
    StorageId,
)
from jotunheim.data.node.policy import PlacementPolicy
from jotunheim.data.node.spec import (
    Clones,
    DefaultUser,
    Labels,
    Nameservers,
    NodeIds,
    OsFamily,
    Overcommit,
    Port,
    Position,
    QuarantineSeconds,
    ShortCode,
    TlsSpec,
    TokenId,
    TokenSecret,
    Vlan,
)


class LocationChange(Change):
    """A change of a location."""

    NULLABLE = frozenset({"placement_policy"})

    name: ShortText | None = None
    short_code: ShortCode | None = None
    placement_policy: PlacementPolicy | None = None
    """Null: as the setting says."""


class NodeChange(Change):
    """A change of a node. Runs that begin afterwards use it; what is set for new servers does not move old ones."""

    name: DnsLabel | None = None
    location_id: Id | None = None
    host: Host | None = None
    port: Port | None = None
    token_id: TokenId | None = None
    token_secret: TokenSecret | None = None
    """Replaces the token's secret; revoke the old token only when running jobs have ended."""
    tls: TlsSpec | None = None
    """As a whole."""
    vm_storage: StorageId | None = None
    backup_storage: StorageId | None = None
    iso_storage: StorageId | None = None
    bridge: BridgeName | None = None
    memory_overcommit: Overcommit | None = None
    disk_overcommit: Overcommit | None = None
    max_concurrent_clones: Clones | None = None
    labels: Labels | None = None
    """All of them."""


class DrainRequest(Shape):
    """Whether a node takes new servers."""

    drained: bool = True


class TemplateChange(Change):
    """A change of a template; servers that exist keep what they were made from."""

    NULLABLE = frozenset({"group_id", "default_user", "minimum_memory_bytes"})

    name: ShortText | None = None
    group_id: Id | None = None
    os_family: OsFamily | None = None
    default_user: DefaultUser | None = None
    minimum_disk_bytes: MebiBytes | None = None
    minimum_memory_bytes: MebiBytes | None = None
    hidden: bool | None = None
    position: Position | None = None


class TemplateGroupChange(Change):
    """A change of a template group; servers that exist keep what they were made from."""

    NULLABLE = frozenset({"default_user", "minimum_disk_bytes", "minimum_memory_bytes"})

    name: ShortText | None = None
    default_user: DefaultUser | None = None
    minimum_disk_bytes: MebiBytes | None = None
    minimum_memory_bytes: MebiBytes | None = None
    hidden: bool | None = None
    position: Position | None = None


class AddressPoolChange(Change):
    """A change of an address pool. Servers get it when they are configured next."""

    NULLABLE = frozenset({"gateway", "vlan", "mac_prefix"})

    name: ShortText | None = None
    gateway: str | None = None
    """Of the pool's subnet; if it is one of the pool's addresses it is handed out no more."""
    vlan: Vlan | None = None
    nameservers: Nameservers | None = None
    node_ids: NodeIds | None = None
    """All nodes that the pool serves; empty: every node."""
    mac_prefix: MacPrefix | None = None
    """For new servers; those that exist keep their MAC addresses."""
    quarantine_seconds: QuarantineSeconds | None = None
    """For what is given back from now on."""


class AddressChange(Change):
    """A change of one address of a pool."""

    NULLABLE = frozenset({"reserved_for", "quarantined_until"})

    reserved_for: ShortText | None = None
    """What it is kept for, e.g. a router: servers do not get it. Null: nothing."""
    quarantined_until: None = None
    """Null: its quarantine is over now."""
