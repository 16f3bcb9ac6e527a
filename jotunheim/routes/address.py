"""Where a request comes from, also when proxies stand between.

uvicorn's own `ProxyHeadersMiddleware` is switched off and not used: it trusts 127.0.0.1 unless it is told otherwise, so every local
process could name any address; it takes a hop that is no address for the client, so the text of a stranger gets into logs and
counters; it ignores what it does not understand of its own list; and it does not know IPv4 addresses written as IPv6. What
is here does less: `X-Forwarded-For` and `X-Forwarded-Proto`, from proxies that the settings name, and nothing but addresses.
"""

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_HOPS = 100
"""How many entries of `X-Forwarded-For` are looked at, from the right."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ForwardedMiddleware:
    """Puts client and scheme into the request's scope, as the trusted proxies tell them."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        peer = parse(scope["client"][0]) if scope.get("client") else None
        if scope["type"] == "http" and peer is not None:
            headers = Headers(scope=scope)
            client = client_behind(peer, ",".join(headers.getlist("x-forwarded-for")), self._trusted)
            scope["client"] = (str(client), scope["client"][1] if client == peer else 0)
            proto = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
            if proto in ("http", "https") and _is_in(peer, self._trusted):
                scope["scheme"] = proto
        await self._app(scope, receive, send)


def client_address(request: HTTPConnection) -> str | None:
    """The address that a request comes from: the rightmost one that is no trusted proxy.

    Returns:
        An IPv4 or IPv6 address in its short form, never anything else; None where there is none, as on a Unix socket.
    """
    address = parse(request.client.host) if request.client else None
    return None if address is None else str(address)


def client_behind(peer: Address, forwarded: str, trusted: Sequence[Network]) -> Address:
    """The client of a connection from `peer`.

    Args:
        forwarded: `X-Forwarded-For`, the nearest hop last. What is no address ends it: it was told by the hop after it.
    """
    client = peer
    hops = forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:] if forwarded else []
    while hops and _is_in(client, trusted):
        hop = parse(hops.pop().strip())
        if hop is None:
            break
        client = hop
    return client


def parse(text: str) -> Address | None:
    """An address, also with a port or in brackets; None: it is none."""
    if len(text) > len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535"):
        return None
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if (port and not (port.isascii() and port.isdigit())) or "%" in host:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
