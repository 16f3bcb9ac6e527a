"""What operators send when they add infrastructure."""

import ipaddress
import re
from typing import Annotated, Literal, Self

from cryptography import x509
from pydantic import AfterValidator, Field, SecretStr, model_validator

from jotunheim.data.fields import (
    AddressOrPrefix,
    BridgeName,
    Distinct,
    DistinctAddresses,
    DnsLabel,
    Host,
    Id,
    IpAddress,
    LabelKey,
    LabelValue,
    MacPrefix,
    MebiBytes,
    Shape,
    ShortText,
    StorageId,
    Vmid,
)
from jotunheim.data.node.policy import PlacementPolicy

MAX_POOL_ADDRESSES = 65_536
MAX_QUARANTINE_SECONDS = 366 * 86_400
_SHA256_FINGERPRINT = re.compile(r"([0-9A-F]{2}:){31}[0-9A-F]{2}")


def _fingerprint(value: str) -> str:
    digits = value.upper().replace(":", "")
    colons = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
    if not _SHA256_FINGERPRINT.fullmatch(colons):
        raise ValueError(
            "must be a SHA-256 fingerprint: 32 bytes in hex, as the node's certificate page shows it"
        )
    return colons


def _certificates(value: str) -> str:
    try:
        x509.load_pem_x509_certificates(value.encode())
    except ValueError:
        raise ValueError("must be one or more certificates in PEM") from None
    return value


def _token_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be the token's secret as PVE showed it")
    return value


ShortCode = Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
TokenId = Annotated[
    str, Field(max_length=255, pattern=r"^[^\s@!=:/]+@[A-Za-z][A-Za-z0-9._-]+![A-Za-z][A-Za-z0-9._-]+$")
]
"""`user@realm!tokenname`."""
TokenSecret = Annotated[SecretStr, AfterValidator(_token_secret)]
Overcommit = Annotated[float, Field(ge=0.1, le=100)]
Clones = Annotated[int, Field(ge=1, le=100)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Position = Annotated[int, Field(ge=0, le=1_000_000)]
OsFamily = Literal["linux", "windows"]
DefaultUser = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Vlan = Annotated[int, Field(ge=1, le=4094)]
Nameservers = Annotated[list[IpAddress], Field(max_length=8), DistinctAddresses]
NodeIds = Annotated[list[Id], Field(max_length=1000), Distinct]
QuarantineSeconds = Annotated[int, Field(ge=0, le=MAX_QUARANTINE_SECONDS)]


class LocationSpec(Shape):
    """A place that nodes stand in."""

    name: ShortText
    short_code: ShortCode
    placement_policy: PlacementPolicy | None = None
    """How a node is chosen among several; None: as the setting `placement_policy` says."""


class TlsSpec(Shape):
    """How the node's certificate is verified; there is no way to leave it unverified."""

    verify: bool = True
    """False: not against certificate authorities, but against `fingerprint`, which must be given."""
    ca_pem: Annotated[str, Field(max_length=65_536), AfterValidator(_certificates)] | None = None
    """Certificate authorities; None: those of the system."""
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = None
    """SHA-256 of the one certificate to accept."""

    @model_validator(mode="after")
    def _verified(self) -> Self:
        if not self.verify and self.fingerprint is None:
            raise ValueError(
                "without verify, a fingerprint must be given: certificates are never left unchecked"
            )
        if self.ca_pem and self.fingerprint:
            raise ValueError("give ca_pem or fingerprint, not both")
        return self


class NodeSpec(Shape):
    """A Proxmox VE host that servers may be placed on."""

    name: DnsLabel
    """The PVE node name."""
    location_id: Id
    host: Host
    port: Port = 8006
    token_id: TokenId
    """`user@realm!tokenname`."""
    token_secret: TokenSecret
    tls: TlsSpec = TlsSpec()
    vm_storage: StorageId = "local-lvm"
    backup_storage: StorageId = "local"
    iso_storage: StorageId = "local"
    bridge: BridgeName = "vmbr0"
    memory_overcommit: Overcommit = 1.0
    disk_overcommit: Overcommit = 1.0
    max_concurrent_clones: Clones = 2
    labels: Labels = {}
    """What servers can ask for with `node_labels`, e.g. `{"disk": "nvme"}`."""


class TemplateSpec(Shape):
    """A PVE template that servers are cloned from."""

    name: ShortText
    node_id: Id
    vmid: Vmid
    group_id: Id | None = None
    """The logical template that it is on this node."""
    os_family: OsFamily = "linux"
    default_user: DefaultUser | None = None
    """Account that cloud-init sets up; None: the group's, or the one that the image names."""
    minimum_disk_bytes: MebiBytes | None = None
    """None: read from the node, if it answers."""
    minimum_memory_bytes: MebiBytes | None = None
    hidden: bool = False
    """Owners are not offered it."""
    position: Position = 0
    """Where it stands in lists: `?sort=position`."""


class TemplateGroupSpec(Shape):
    """One logical template, which stands on several nodes. What it says holds for all its templates."""

    name: ShortText
    os_family: OsFamily = "linux"
    default_user: DefaultUser | None = None
    """For templates that say none."""
    minimum_disk_bytes: MebiBytes | None = None
    """A template's own minimum counts as well."""
    minimum_memory_bytes: MebiBytes | None = None
    hidden: bool = False
    """Owners are not offered any of them."""
    position: Position = 0
    """Where it stands in lists: `?sort=position`."""


class AddressPoolSpec(Shape):
    """Addresses of one subnet, or prefixes out of a larger one, as a range or as a prefix."""

    name: ShortText
    family: Literal["ipv4", "ipv6"]
    first: str | None = None
    last: str | None = None
    prefix: str | None = None
    """Instead of a range: all usable addresses of this network, e.g. `10.0.0.0/24`."""
    prefix_length: Annotated[int, Field(ge=1, le=128)] | None = None
    gateway: str | None = None
    vlan: Vlan | None = None
    nameservers: Nameservers = []
    node_ids: NodeIds = []
    """Nodes that the pool serves; empty: all."""
    mac_prefix: MacPrefix | None = None
    """New servers whose first address is from this pool get a MAC address that begins so. None: Proxmox VE chooses."""
    quarantine_seconds: QuarantineSeconds = 0
    """How long an address that a server gave back goes to no other one."""
    delegated_prefix_length: Annotated[int, Field(ge=1, le=127)] | None = None
    """The pool has whole IPv6 prefixes of this length instead of addresses, e.g. each /64 of a /48."""
    reserved_addresses: Annotated[list[AddressOrPrefix], Field(max_length=1000), Distinct] = []
    """Those of the pool that no server gets, until that is changed."""


class AddressRangeSpec(Shape):
    """More addresses for a pool, of its subnet."""

    first: str
    last: str | None = None
    """None: only the first."""


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
