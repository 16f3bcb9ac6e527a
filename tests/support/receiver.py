"""A receiver of webhooks on loopback, with real HTTPS."""

import json
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jotunheim.sandbox import tls
from tests.support.processes import wait_for


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """What it tells."""
        document: dict[str, Any] = json.loads(self.body)
        return document


Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Receiver:
    """What it has got, by path; and how it answers, by path: with 204, unless told otherwise."""

    port: int
    ca_file: Path
    got: dict[str, list[Received]] = field(default_factory=lambda: defaultdict(list))
    behaviours: dict[str, Behaviour] = field(default_factory=dict)

    def url(self, path: str, host: str = "localhost") -> str:
        """Where a path is."""
        return f"https://{host}:{self.port}{path}"

    def wait(self, path: str, count: int = 1, *, seconds: float = 20) -> list[Received]:
        """What a path has got, as soon as it is so much."""
        return wait_for(lambda: len(self.got[path]) >= count and list(self.got[path]), path, seconds=seconds)

    @classmethod
    @contextmanager
    def start(cls, folder: Path, address: str = "127.0.0.1") -> Iterator["Receiver"]:
        """Listen on a port of an address, with a certificate for 127.0.0.1 from the authority in the folder."""
        identity = tls.load_or_make(folder, "127.0.0.1")
        server = _Server((address, 0), _Handler)
        receiver = cls(server.server_address[1], identity.ca_file)
        server.receiver, server.context = receiver, identity.context()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    receiver: Receiver
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests go away in the middle."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server.receiver
        receiver.got[self.path].append(Received(headers, body))
        receiver.behaviours.get(self.path, answering(204))(self)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def answering(status: int, **headers: str) -> Behaviour:
    """Answers so."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return behave


def one_after_the_other(*behaviours: Behaviour) -> Behaviour:
    """Another behaviour for each request; the last one stays."""
    left = list(behaviours)

    def behave(request: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


def dripping(request: BaseHTTPRequestHandler) -> None:
    """Sends a header for ever, a little at a time."""
    request.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        request.wfile.write(b"a")
        request.wfile.flush()
        time.sleep(0.1)


def endless(request: BaseHTTPRequestHandler) -> None:
    """Answers well, and sends a body for ever."""
    answering(200)(request)
    while True:
        request.wfile.write(b"a" * 4096)


def holding(event: threading.Event) -> Behaviour:
    """Answers when this is set."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        event.wait(30)
        answering(204)(request)

    return behave
