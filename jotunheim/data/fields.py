"""Field types that several shapes share, each with the rule it enforces and where the rule comes from."""

import base64
import binascii
import ipaddress
import re
import unicodedata
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

MIB = 1024 * 1024
_DNS_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_EMAIL = re.compile(r"[^@\s{}<>\"]+@[^@\s{}<>\"]+")
_SNAPSHOT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,39}")
_OCTET = re.compile(r"[0-9A-F]{2}")
LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_SSH_KEY_TYPES = {
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
}
MAX_EMAIL = 254
"""RFC 5321, section 4.5.3.1.3, without the angle brackets."""
SQL_INTEGER_MAX = 2**31 - 1
_PRIVATE_KEY = re.compile(r"PRIVATE KEY|PuTTY-User-Key-File|\bb3BlbnNzaC1rZXktdjE")
"""What stands in private keys: PEM and OpenSSH, PuTTY, and OpenSSH's without its first line."""


class Shape(BaseModel):
    """Base of what callers send: no unknown fields, no guessing of types, immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


class Change(Shape):
    """Base of what changes something that exists: a field that is left out stays as it is.

    Null is refused where it says nothing that leaving a field out does not say.
    """

    NULLABLE: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.NULLABLE:
            raise ValueError("must not be null; leave it out to keep what is set")
        return value

    def given(self) -> dict[str, Any]:
        """The fields that were not left out."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


class View(BaseModel):
    """Base of what the API answers."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


def _dns_name(value: str) -> str:
    labels = value.split(".")
    if len(value) > 253 or not all(_DNS_LABEL.fullmatch(label) for label in labels):
        raise ValueError(
            "must be a host name as in RFC 1123: letters, digits and hyphens, "
            "labels of at most 63 characters joined by dots"
        )
    return value


def is_dns_name(value: str) -> bool:
    """Whether a server can have this name."""
    try:
        return bool(_dns_name(value))
    except ValueError:
        return False


def _dns_label(value: str) -> str:
    if not _DNS_LABEL.fullmatch(value):
        raise ValueError(
            "must be letters, digits and hyphens, at most 63, not beginning or ending with a hyphen"
        )
    return value


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _dns_name(value)
    if "%" in value:
        raise ValueError("must be an address without a scope")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not contain line breaks or control characters")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _whole_mebibytes(value: int) -> int:
    if value % MIB:
        raise ValueError("must be a multiple of 1048576 (1 MiB)")
    return value


def _ssh_public_key(value: str) -> str:
    """One line of an authorized_keys file without options; RFC 4253 section 6.6 gives the blob's format."""
    if is_private_key(value):
        raise ValueError(
            "is a private key: give the public one (FILE.pub), and make a new pair, since this one was told"
        )
    _printable(value)
    type_, _, rest = value.strip().partition(" ")
    encoded = rest.strip().partition(" ")[0]
    if type_ not in _SSH_KEY_TYPES:
        raise ValueError(
            f"must be an OpenSSH public key of one of the types {', '.join(sorted(_SSH_KEY_TYPES))}"
        )
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("is not an OpenSSH public key: its second word is not base64") from None
    parts = _ssh_strings(blob)
    if len(parts) < 2 or parts[0] != type_.encode() or not all(parts):
        raise ValueError("is not an OpenSSH public key: it is cut off or its type does not match its content")
    if type_ == "ssh-ed25519" and len(parts[1]) != 32:
        raise ValueError("is not an OpenSSH public key: an Ed25519 key has 32 bytes")
    return value


def is_private_key(text: str) -> bool:
    """Whether a text that should be a public key is, or holds a part of, a private one."""
    return _PRIVATE_KEY.search(text) is not None


def _ssh_strings(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of a blob; empty when they do not fill it exactly."""
    parts = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            return []
        parts.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return parts


def _label_key(value: str) -> str:
    if not LABEL_KEY.fullmatch(value):
        raise ValueError("must be letters, digits and ._/- inside, at most 63 characters")
    return value


def _ip_address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address") from None
    if "%" in value:
        raise ValueError("must be an address without a scope")
    return value


def _address_or_prefix(value: str) -> str:
    """An address or a prefix in the one way in which it is written."""
    try:
        network = ipaddress.ip_network(value) if "/" in value else None
    except ValueError:
        raise ValueError("must be an IP address, or a prefix with no host bits set") from None
    return str(network or ipaddress.ip_address(_ip_address(value)))


def folded(email: str) -> str:
    """An e-mail address as accounts are found by it: the same however its letters are written (Unicode, D145)."""
    decomposed = unicodedata.normalize("NFD", email)
    return unicodedata.normalize("NFC", decomposed.casefold())


def _email(value: str) -> str:
    if not value.isprintable() or not _EMAIL.fullmatch(value):
        raise ValueError("must be an e-mail address")
    if len(folded(value)) > MAX_EMAIL:
        raise ValueError(f"must have at most {MAX_EMAIL} characters, also in lower case")
    return folded(value)


def _distinct(values: list[Any]) -> list[Any]:
    seen: dict[Any, int] = {}
    for index, value in enumerate(values):
        if seen.setdefault(value, index) != index:
            raise ValueError(f"entry {index} is the same as entry {seen[value]}")
    return values


def _distinct_addresses(values: list[str]) -> list[str]:
    _distinct([ipaddress.ip_address(value) for value in values])
    return values


def _mac_prefix(value: str) -> str:
    octets = value.upper().replace("-", ":").split(":")
    if not 3 <= len(octets) <= 5 or not all(_OCTET.fullmatch(octet) for octet in octets):
        raise ValueError("must be the first three to five octets of a MAC address, e.g. 02:00:5E")
    first = int(octets[0], 16)
    if first & 1:
        raise ValueError("is of multicast addresses: the lowest bit of the first octet must be 0")
    if not first & 2:
        raise ValueError(
            "is of addresses that manufacturers assign: the second lowest bit of the first octet must be 1, as in 02"
        )
    return ":".join(octets)


def _notes(value: str) -> str:
    if not all(character.isprintable() or character in "\n\t" for character in value):
        raise ValueError("must not contain control characters")
    if any(line.startswith("jotunheim:") for line in value.splitlines()):
        raise ValueError("must not have a line that begins with jotunheim: (those are the service's)")
    return value


def _snapshot_name(value: str) -> str:
    if not _SNAPSHOT_NAME.fullmatch(value) or value == "current":
        raise ValueError(
            "must begin with a letter, have 2 to 40 letters, digits, hyphens and underscores, "
            "and not be `current`"
        )
    return value


DnsName = Annotated[str, AfterValidator(_dns_name)]
DnsLabel = Annotated[str, AfterValidator(_dns_label)]
Host = Annotated[str, AfterValidator(_host)]
"""A host name or an IP address."""
ShortText = Annotated[
    str, Field(min_length=1, max_length=255), AfterValidator(_printable), AfterValidator(_not_blank)
]
MebiBytes = Annotated[int, Field(gt=0, le=2**60), AfterValidator(_whole_mebibytes)]
"""Bytes, in whole mebibytes: what PVE can set."""
Id = Annotated[int, Field(gt=0, le=SQL_INTEGER_MAX)]
Vmid = Annotated[int, Field(ge=100, le=999_999_999)]
"""PVE's range of VMIDs."""
SshPublicKey = Annotated[str, Field(max_length=16_384), AfterValidator(_ssh_public_key)]
PveTag = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9_][a-z0-9_\-+.]*$")]
"""PVE's tag rule; it would lower-case others by itself."""
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
StorageId = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]$")]
BridgeName = Annotated[str, Field(max_length=15, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
IpAddress = Annotated[str, Field(max_length=45), AfterValidator(_ip_address)]
AddressOrPrefix = Annotated[str, Field(max_length=49), AfterValidator(_address_or_prefix)]
Email = Annotated[str, Field(max_length=MAX_EMAIL), AfterValidator(_email)]
"""Folded. Whether mail arrives there is another question; this keeps mistakes and nonsense out."""
SomeEmail = Annotated[str, Field(max_length=MAX_EMAIL), AfterValidator(folded)]
"""What may be the address of an account; folded, too."""
Distinct = AfterValidator(_distinct)
"""Of lists: no entry twice."""
Networks = Annotated[list[AddressOrPrefix], Field(min_length=1, max_length=64), Distinct]
DistinctAddresses = AfterValidator(_distinct_addresses)
"""Of lists of IP addresses: none twice, however it is written."""
MacPrefix = Annotated[str, Field(max_length=14), AfterValidator(_mac_prefix)]
"""Three to five octets that locally administered addresses of single devices begin with (IEEE 802, clause 8)."""
DeviceName = Annotated[
    str, Field(max_length=9, pattern=r"^(ide|sata|scsi|virtio|net|hostpci|usb)[0-9]{1,2}$")
]
"""A VM's bootable device in PVE's words."""
UserName = Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
"""An account of a guest."""
Notes = Annotated[str, Field(max_length=4096), AfterValidator(_notes)]
"""Text of several lines, below our own lines in a VM's notes."""
SnapshotName = Annotated[str, AfterValidator(_snapshot_name)]
"""PVE's rule for `snapname`: a configuration id of at most 40 characters."""
