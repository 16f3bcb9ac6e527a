"""HTTP by hand, for what no client library would send."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.support.service import Service


def port_of(service: Service) -> int:
    """The port on which a service's API listens."""
    port = httpx.URL(str(service.http.base_url)).port
    assert port is not None
    return port


@contextmanager
def connection(service: Service, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """A TCP connection to the API."""
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port_of(service)))
        yield sock


def rest_of(sock: socket.socket) -> bytes:
    """All that comes until the other side ends the connection, also when it ends it hard."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def exchange(service: Service, request: bytes) -> bytes:
    """Send a request as it is, and answer what comes back until the connection ends."""
    with connection(service) as sock:
        sock.sendall(request)
        return rest_of(sock)


def seconds_until_closed(sock: socket.socket) -> tuple[float, bytes]:
    """How long it takes until the other side ends the connection, and what it says before."""
    began = time.monotonic()
    said = rest_of(sock)
    return time.monotonic() - began, said
