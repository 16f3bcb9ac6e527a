"""Where a Proxmox VE node answers, who we are there, and by what we recognise it."""

import re
from dataclasses import dataclass, field

from jotunheim.exceptions.repository import ProxmoxCertificateError, ProxmoxUnauthorizedError

_TOKEN_ID = re.compile(r"(?P<user>[^\s!]+@[^\s!@]+)!(?P<name>[A-Za-z][A-Za-z0-9._-]+)")


@dataclass(frozen=True)
class TlsPolicy:
    """How the node's certificate is verified. There is no way to switch verification off.

    Attributes:
        ca_pem: certificates (PEM) of the only authorities to trust; None: those of the system.
        fingerprint: SHA-256 of the one certificate to accept, as hexadecimal digits with or without
            colons. Chain, name and dates are then not looked at, and `ca_pem` is not used.

    Raises:
        ProxmoxCertificateError: the fingerprint is no SHA-256 digest.
    """

    ca_pem: str | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        if self.fingerprint is None:
            return
        digits = self.fingerprint.replace(":", "").strip().lower()
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            raise ProxmoxCertificateError(
                "The pinned certificate fingerprint is not a SHA-256 digest (64 hexadecimal digits).",
                hint="`pvenode cert info` on the node shows it in the row `fingerprint`.",
            )
        object.__setattr__(self, "fingerprint", digits)


@dataclass(frozen=True)
class Endpoint:
    """One node's API and the token to use there.

    Attributes:
        host: host name, IPv4 or IPv6 address, without port or brackets.
        token_id: ``user@realm!name``.
        connect_timeout_seconds: until TCP and TLS stand.
        read_timeout_seconds: between two pieces of an answer. PVE itself takes up to 10 s to get a
            VM's lock before it answers, and 3 s to refuse a token.

    Raises:
        ProxmoxUnauthorizedError: the token id has another form.
    """

    host: str
    token_id: str
    token_secret: str = field(repr=False)
    port: int = 8006
    tls: TlsPolicy = TlsPolicy()
    connect_timeout_seconds: float = 5
    read_timeout_seconds: float = 30

    def __post_init__(self) -> None:
        if not _TOKEN_ID.fullmatch(self.token_id):
            raise ProxmoxUnauthorizedError(
                "The API token id does not have the form user@realm!name.",
                hint="`pveum user token list USER` on the node shows the names of the tokens.",
            )

    @property
    def user(self) -> str:
        """The token's user, ``user@realm``."""
        return self.token_id.partition("!")[0]

    @property
    def token_name(self) -> str:
        """The token's name without its user."""
        return self.token_id.partition("!")[2]
