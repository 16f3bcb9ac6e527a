"""What a caller asks for when creating a server."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from jotunheim.data.fields import (
    AddressOrPrefix,
    Distinct,
    DnsName,
    Id,
    LabelKey,
    LabelValue,
    MebiBytes,
    PveTag,
    Shape,
    ShortText,
    SshPublicKey,
)
from jotunheim.data.server.traffic import MAX_TRAFFIC_BYTES, TrafficPolicy

MIB = 1024 * 1024
DEFAULT_MEMORY_BYTES = 1024 * MIB
MAX_EXPIRY_SECONDS = 10 * 366 * 86_400
_PASSWORD_LENGTHS = range(8, 129)


def _guest_password(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) not in _PASSWORD_LENGTHS or not text.isprintable():
        raise ValueError("must have 8 to 128 printable characters")
    return value


GuestPassword = Annotated[SecretStr, AfterValidator(_guest_password)]
KeyIds = Annotated[list[Id], Field(max_length=100)]
"""Ids of keys that the server's owner keeps: see `services.ssh_keys`."""
ExpirySeconds = Annotated[int, Field(ge=1, le=MAX_EXPIRY_SECONDS)]


PREFIXES = "ipv6_prefixes"
"""What delegated prefixes are called, where addresses go by their family."""
KINDS = ("ipv4", "ipv6", PREFIXES)
"""What pools give to servers."""
MAX_ADDRESSES = 16
"""Of each kind a server can have."""
ExplicitAddresses = Annotated[list[AddressOrPrefix], Field(max_length=MAX_ADDRESSES), Distinct]


class AddressCounts(Shape):
    """How many addresses to take from the node's pools. None of a family: that family is left to DHCP."""

    ipv4: int = Field(default=0, ge=0, le=MAX_ADDRESSES)
    ipv6: int = Field(default=0, ge=0, le=MAX_ADDRESSES)
    ipv6_prefixes: int = Field(default=0, ge=0, le=MAX_ADDRESSES)
    """Whole prefixes for the networks behind the server."""
    explicit: ExplicitAddresses = []
    """Just these addresses and prefixes, the first one first. They count among the numbers, which they raise if need be."""


class Limits(Shape):
    """What the owner may use up. None means without limit; 0 means nothing."""

    snapshots: int | None = Field(default=2, ge=0, le=1000)
    backups: int | None = Field(default=2, ge=0, le=1000)
    traffic_bytes: int | None = Field(default=None, ge=0, le=MAX_TRAFFIC_BYTES)
    """In a month, of the directions that `TRAFFIC_COUNTED` names."""
    traffic_policy: TrafficPolicy | None = None
    """What follows when parts of it are used up; None: the setting `TRAFFIC_POLICY`."""
    rate_bytes_per_second: int | None = Field(default=None, ge=1000, le=10**12)


class ServerSpec(Shape):
    """A server as its creator wants it."""

    name: DnsName
    """Unique among the owner's servers; also the VM's name on the node."""
    hostname: DnsName | None = None
    """Host name inside the guest; by default the name."""
    owner_id: Id | None = None
    """By default whoever asks."""
    node_id: Id | None = None
    """None: a node is chosen."""
    location_id: Id | None = None
    node_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Only nodes that have all of these labels."""
    template_group_id: Id | None = None
    """Instead of a template: whichever of the group is on the chosen node."""
    backup_id: UUID | None = None
    """Instead of a template: a backup of another server, which may be gone. The owner is then by default that one's."""
    template_id: Annotated[Id | None, Field(validate_default=True)] = None
    """One that belongs to a group stands for the group, unless `node_id` says which."""
    cpu: Annotated[int, Field(ge=1, le=512)] | None = None
    """Cores; None: 1, or as many as the backup says."""
    memory_bytes: Annotated[MebiBytes, Field(ge=16 * MIB)] | None = None
    """None: 1 GiB, or as much as the backup says."""
    disk_bytes: MebiBytes | None = None
    """Size of the system disk; None: as large as the template's or the backup's."""
    addresses: AddressCounts = AddressCounts()
    ssh_keys: Annotated[list[SshPublicKey], Field(max_length=100)] | None = None
    ssh_key_ids: KeyIds | None = None
    """Keys that the owner keeps. When neither these nor `ssh_keys` are given, it gets all that the owner keeps."""
    password: GuestPassword | None = None
    """8 to 128 printable characters. None without keys: one is generated and answered once."""
    anti_spoofing: bool = True
    """Whether it can only send from its own MAC address and the addresses that it is given."""
    start: bool = True
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = {}
    tags: Annotated[list[PveTag], Field(max_length=32)] = []
    external_id: ShortText | None = None
    """The caller's own id for this server, unique among the owner's servers."""
    expires_in_seconds: ExpirySeconds | None = None
    """The server is deleted after this time, unless it is extended or protected. None: never."""
    protected: bool = False
    """A protected server refuses to be deleted."""
    limits: Limits = Limits()
    profiles: Annotated[list[str], Field(max_length=0)] = []
    """Profiles come with a later version; only an empty list is accepted."""

    @field_validator("template_id")
    @classmethod
    def _one_origin(cls, value: int | None, info: ValidationInfo) -> int | None:
        others = ("template_group_id", "backup_id")
        given = [name for name in others if info.data.get(name) is not None]
        if value is None and not given:
            raise ValueError(f"is missing; give it, {' or '.join(others)}")
        if len(given) + (value is not None) > 1:
            raise ValueError(f"must be the only one of template_id, {' and '.join(others)}")
        return value
