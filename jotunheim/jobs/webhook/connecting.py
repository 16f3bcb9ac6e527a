"""Connects to a receiver: its name is resolved here, and what is connected to is the address that was checked.

So no second look-up can lead elsewhere (DNS rebinding), and whatever it does, a receiver has no more than the time it is given.
"""

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any

import httpcore

from jotunheim.data.webhook.url import Address, Receiver
from jotunheim.services.webhooks.addresses import Networks, is_permitted

_TRIED_ADDRESSES = 3
_CONNECT_SECONDS = 4.0


class NotPermittedError(Exception):
    """A name leads to no address that may be called."""


class Deadline:
    """A moment after which nothing is waited for any more."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self, most: float | None = None) -> float:
        """Seconds until then, or `most`. Raises ReadTimeout when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("The time for the delivery is over.")
        return left if most is None else min(left, most)


class CheckedBackend(httpcore.NetworkBackend):
    """Opens httpcore's connections to one receiver."""

    def __init__(self, receiver: Receiver, networks: Networks, deadline: Deadline) -> None:
        self._receiver = receiver
        self._networks = networks
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the receiver's
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to one of the receiver's addresses.

        Raises:
            NotPermittedError: none of them may be called.
            ConnectError, ConnectTimeout: nothing answers there.
        """
        *others, last = self._permitted()
        connect = partial(self._connect, port, local_address, socket_options)
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return connect(address)
        return connect(last)

    def _connect(
        self, port: int, local_address: str | None, socket_options: Iterable[Any] | None, address: Address
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.left(_CONNECT_SECONDS)
        opened = self._sockets.connect_tcp(str(address), port, seconds, local_address, socket_options)
        return _BoundedStream(opened, self._deadline)

    def _permitted(self) -> list[Address]:
        plain = self._receiver.scheme == "http"
        found = [
            address
            for address in _resolved(self._receiver)
            if is_permitted(address, self._networks, plain=plain)
        ]
        if not found:
            raise NotPermittedError("It has no address that may be called.")
        return found[:_TRIED_ADDRESSES]


class _BoundedStream(httpcore.NetworkStream):
    """A connection that ends with the deadline, however slowly the other side goes."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline counts
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        tls = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _BoundedStream(tls, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolved(receiver: Receiver) -> list[Address]:
    """Addresses of a receiver, as the system's resolver orders them. Raises ConnectError: there are none."""
    if receiver.address is not None:
        return [receiver.address]
    try:
        found = socket.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"The name cannot be resolved: {error}") from None
    addresses = (ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found)
    return list(dict.fromkeys(addresses))
