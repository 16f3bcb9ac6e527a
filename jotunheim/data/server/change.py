"""What can be changed about a server that exists. A field that is left out stays as it is."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from jotunheim.data.fields import (
    BridgeName,
    Change,
    DeviceName,
    DnsName,
    IpAddress,
    LabelKey,
    LabelValue,
    MebiBytes,
    Notes,
    PveTag,
    ShortText,
    SshPublicKey,
    UserName,
)
from jotunheim.data.server.spec import MAX_ADDRESSES, MIB, ExpirySeconds, ExplicitAddresses, KeyIds, Limits

SETS_FIREWALL = frozenset({"addresses", "network", "anti_spoofing"})
"""Fields of a change that the VM's firewall follows."""


class Restart(StrEnum):
    """Whether a running server may be restarted so that a change takes effect."""

    NEVER = "never"
    IF_NEEDED = "if_needed"


class NetworkChange(Change):
    """The server's first network device. Its MAC address and options that are not named here stay."""

    model: Literal["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"] | None = None
    bridge: BridgeName | None = None
    vlan: int | None = Field(default=None, ge=0, le=4094)
    """VLAN tag; 0: untagged."""
    mtu: int | None = Field(default=None, ge=0, le=65520)
    """Bytes; 1: as the bridge has; 0: the default."""
    rate_bytes_per_second: int | None = Field(default=None, ge=0, le=10**12)
    """Limit in each direction, within the server's limit; 0: that of `limits`, or none."""
    firewall: bool | None = None
    """Whether Proxmox VE's firewall sees the device; it always does while the server needs that."""


class CloudInitChange(Change):
    """What cloud-init tells the guest at its next start."""

    user: UserName | None = None
    """The account that gets keys and password."""
    nameservers: Annotated[list[IpAddress], Field(max_length=8)] | None = None
    """Empty: those of the address pools."""
    search_domain: DnsName | Literal[""] | None = None
    """Empty: what the host name says."""


class AddressChange(Change):
    """How many addresses of each family the server shall have; more are taken from the pools, the last given back."""

    ipv4: int | None = Field(default=None, ge=0, le=MAX_ADDRESSES)
    ipv6: int | None = Field(default=None, ge=0, le=MAX_ADDRESSES)
    ipv6_prefixes: int | None = Field(default=None, ge=0, le=MAX_ADDRESSES)
    explicit: ExplicitAddresses | None = None
    """Addresses and prefixes that it shall have, or keep, among those; without a number, beside all that it has."""


class ServerChange(Change):
    """A change of a server."""

    NULLABLE = frozenset({"external_id", "expires_in_seconds"})

    name: DnsName | None = None
    hostname: DnsName | None = None
    cpu: Annotated[int, Field(ge=1, le=512)] | None = None
    """Cores."""
    memory_bytes: Annotated[MebiBytes, Field(ge=16 * MIB)] | None = None
    disk_bytes: MebiBytes | None = None
    """Size of the system disk; it only grows."""
    addresses: AddressChange | None = None
    ssh_keys: Annotated[list[SshPublicKey], Field(max_length=100)] | None = None
    ssh_key_ids: KeyIds | None = None
    """Keys that the owner keeps; with `ssh_keys`, or in their place."""
    tags: Annotated[list[PveTag], Field(max_length=32)] | None = None
    description: Notes | None = None
    """The VM's notes in Proxmox VE."""
    network: NetworkChange | None = None
    cloud_init: CloudInitChange | None = None
    boot_order: Annotated[list[DeviceName], Field(min_length=1, max_length=16)] | None = None
    """Devices such as `scsi0`, `net0`, the first one first."""
    agent: bool | None = None
    """Whether Proxmox VE talks to the guest agent."""
    anti_spoofing: bool | None = None
    """Whether it can only send from its own MAC address and the addresses that it is given."""
    restart: Restart = Restart.NEVER
    """What to do when a change takes effect only with a restart."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] | None = None
    """All labels; those that are not named go."""
    external_id: ShortText | None = None
    limits: Limits | None = None
    protected: bool | None = None
    expires_in_seconds: ExpirySeconds | None = None
    """From now on; null: never."""


class IsoChange(ServerChange):
    """The image in the drive; asked for by requests of its own, which look whether the node has it."""

    NULLABLE = ServerChange.NULLABLE | {"iso"}

    iso: str | None = None
    """A volume; null: none."""
