"""A server of disk images on loopback, and small images for it."""

import hashlib
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def qcow2(disk_bytes: int, *, seed: int = 0, file_bytes: int = 70_000, backing: int = 0) -> bytes:
    """A file that says of itself that it holds a disk of this size. `seed` makes files differ."""
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, backing, 0, 16, disk_bytes)
    return head + bytes([seed]) * (file_bytes - len(head))


def sha256(image: bytes) -> str:
    """An image's checksum."""
    return hashlib.sha256(image).hexdigest()


@dataclass
class ImageServer:
    """What it serves, and which requests have come.

    Attributes:
        files: by path. What is no file is a 404.
        redirects: by path, to where.
        gate: cleared, it holds answers back after half of a file.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def serve(self, path: str, image: bytes) -> str:
        """Put a file there. Returns its URL."""
        self.files[path] = image
        return self.url + path


@contextmanager
def image_server(tls: ssl.SSLContext | None = None) -> Iterator[ImageServer]:
    """A running server.

    Args:
        tls: serve https with it.
    """
    served = ImageServer()
    served.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._begin()

        def do_GET(self) -> None:
            body = self._begin()
            half = len(body) // 2
            self.wfile.write(body[:half])
            served.gate.wait(30)
            self.wfile.write(body[half:])

        def _begin(self) -> bytes:
            served.requests.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            body = served.files.get(path, b"")
            if path in served.redirects:
                self.send_response(302)
                self.send_header("Location", served.redirects[path])
            else:
                self.send_response(200 if path in served.files else 404)
            self.send_header("Content-Type", "application/octet-stream; charset=binary")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that goes away is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    served.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        served.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
