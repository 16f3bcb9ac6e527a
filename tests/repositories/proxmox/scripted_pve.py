"""A scripted HTTPS server: it says what a test tells it, also what no real server would."""

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jotunheim.repositories.proxmox import Endpoint, TlsPolicy

TOKEN_SECRET = "11111111-2222-3333-4444-canary-token"


@dataclass(frozen=True)
class Say:
    """One answer. `reset`: close the connection instead, without one."""

    data: Any = None
    status: int = 200
    reason: str = "OK"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False

    def bytes(self) -> bytes:
        if self.body is not None:
            return self.body
        return json.dumps({"data": self.data}).encode()


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    fields: dict[str, list[str]]
    authorization: str
    connection: int


class ScriptedServer:
    """Answers from a script, in order; the last answer repeats."""

    def __init__(self, certificate: Path, fingerprint: str, ca_pem: str, host: str) -> None:
        self.script: list[Say] = []
        self.seen: list[Seen] = []
        self.fingerprint, self.ca_pem, self.host = fingerprint, ca_pem, host
        self._server = _Server((host, 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def endpoint(self, **changes: Any) -> Endpoint:
        values: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "token_id": "root@pam!test",
            "token_secret": TOKEN_SECRET,
            "tls": TlsPolicy(fingerprint=self.fingerprint),
            "read_timeout_seconds": 2,
        }
        return Endpoint(**values | changes)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        import socket

        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that refuse our certificate are part of the tests."""


def _handler(owner: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.connection.settimeout(5)

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            fields = parse_qs(self.rfile.read(length).decode() or query)
            owner.seen.append(
                Seen(
                    self.command, path, fields, self.headers.get("Authorization", ""), self.client_address[1]
                )
            )
            say = owner.script.pop(0) if len(owner.script) > 1 else owner.script[0]
            if say.reset:
                self.close_connection = True
                return
            body = say.bytes()
            self.send_response(say.status, say.reason)
            for name, value in say.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # http.server's names

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
