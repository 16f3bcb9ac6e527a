"""A proxy before a service, on loopback: notes what is asked for, and has TLS if wanted, as the service's own proxy has."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Forwarder:
    """What it was asked for, in order; and what it makes of answers: nothing, unless told otherwise."""

    url: str
    paths: list[str] = field(default_factory=list)
    changed: Callable[[str, bytes], bytes] = field(default=lambda _, body: body)
    """Makes the body that is answered of the path and the service's body."""

    @classmethod
    @contextmanager
    def start(cls, target: str, *, certificate: tuple[Path, Path] | None = None) -> Iterator["Forwarder"]:
        """Listen, and forward every GET to the service at this URL.

        Args:
            certificate: files of a certificate and its key, for TLS.
        """
        server = _Server(("127.0.0.1", 0), _Handler)
        server.target = urlsplit(target).netloc
        scheme = "http"
        if certificate:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.forwarder = cls(f"{scheme}://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.forwarder
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    target: str
    forwarder: Forwarder

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests do not trust it, and go away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.forwarder.paths.append(self.path)
        upstream = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            upstream.request("GET", self.path, headers={"Authorization": self.headers["Authorization"]})
            answer = upstream.getresponse()
            body = self.server.forwarder.changed(self.path, answer.read())
        finally:
            upstream.close()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""
