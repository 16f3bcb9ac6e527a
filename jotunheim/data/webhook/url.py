"""Which URLs can be those of receivers, as far as that can be seen from them. Where their names lead is seen at each delivery."""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from jotunheim.data.fields import is_dns_name

MAX_URL = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}
FIRST_FREE_PORT = 1024
"""Below, ports are of services that are no webhooks: mail, name servers, shells."""
_PATH = re.compile(r"[!-~]*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Receiver:
    """A URL, taken apart. Its text is kept out of every message: a path may be all that a receiver asks for."""

    scheme: str
    host: str
    """In ASCII and lower case; an IPv6 address without brackets."""
    port: int
    target: str = field(repr=False)
    """Path and query."""

    @classmethod
    def parse(cls, url: str) -> "Receiver":
        """Take a URL apart. Raises ValueError, which says what is wrong with it."""
        if not url.isprintable() or re.search(r"[\s\\]", url):
            raise ValueError("must not contain spaces, backslashes or control characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("must be a URL, for example https://hooks.example.com/jotunheim") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError("must begin with https://")
        if "@" in parts.netloc:
            raise ValueError("must not hold a user or a password: receivers know us by the signature")
        if parts.fragment or url.endswith("#"):
            raise ValueError("must not have a fragment")
        if not _PATH.fullmatch(parts.path) or not _PATH.fullmatch(parts.query):
            raise ValueError("must have other characters than ASCII percent-encoded in path and query")
        chosen = DEFAULT_PORTS[parts.scheme] if port is None else port
        if chosen not in DEFAULT_PORTS.values() and chosen < FIRST_FREE_PORT:
            raise ValueError(f"must have the port 443, 80, or one from {FIRST_FREE_PORT}")
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.scheme, _host(parts.hostname or ""), chosen, (parts.path or "/") + query)

    @property
    def authority(self) -> str:
        """Host and port, as in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be shown to those who may not see all of it."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """All of it."""
        return self.origin + self.target

    @property
    def address(self) -> Address | None:
        """Its host, where that is an address."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def _host(host: str) -> str:
    with suppress(ValueError):
        if "%" not in host:  # an address with a scope means one of our interfaces
            return str(ipaddress.ip_address(host))
    name = host.lower() if host.isascii() else _in_ascii(host)
    # What ends with a number is no name, but one of the old ways to write an IPv4 address.
    if not is_dns_name(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError("must have a host name or an IP address")
    return name


def _in_ascii(host: str) -> str:
    """An international name as the DNS has it; empty: it is none."""
    import idna  # its tables are large, and such names are rare

    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return ""


def _checked(value: str) -> str:
    return Receiver.parse(value).url


ReceiverUrl = Annotated[str, Field(max_length=MAX_URL), AfterValidator(_checked)]
