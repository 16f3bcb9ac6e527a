"""No client keeps hold of a connection by being slow, and none gets more read than it may send."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.raw import connection, exchange, rest_of, seconds_until_closed
from tests.support.service import Service

SECONDS = 1.0
EARLIEST = 0.8
"""What is measured begins a moment after what the service measures."""
TOO_LONG = 4.0
LIMIT = 4096


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has little patience."""
    settings = {
        "JOTUNHEIM_HTTP_TIMEOUT_SECONDS": str(SECONDS),
        "JOTUNHEIM_HTTP_KEEP_ALIVE_SECONDS": "5",
        "JOTUNHEIM_MAX_BODY_BYTES": str(LIMIT),
    }
    with Service.start(tmp_path_factory.mktemp("impatient"), worker=False, settings=settings) as started:
        yield started


def test_more_connections_than_may_be_open_are_refused_and_those_that_are_go_on(tmp_path: Path) -> None:
    settings = {"JOTUNHEIM_MAX_CONNECTIONS": "10", "JOTUNHEIM_HTTP_TIMEOUT_SECONDS": "3"}
    with Service.start(tmp_path, worker=False, settings=settings) as full, ExitStack() as held:
        full.http.get("/auth/user")  # keeps its own
        socks = [held.enter_context(connection(full)) for _ in range(14)]
        said = [rest_of(sock) for sock in socks[9:]]
        assert all(answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") for answer in said), said
        assert all(b"retry-after: 1\r\n" in answer for answer in said)
        assert full.http.get("/auth/user").status_code == 200
        for sock in socks[:9]:
            sock.close()
        wait_for(full.is_ready, "room for a connection")


def _head(
    service: Service, *lines: str, method: str = "POST", path: str = "/api/v1/admin/locations"
) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {service.token}", *lines, "", ""]
    return "\r\n".join(head).encode()


def _read_health(sock: socket.socket) -> None:
    said = b""
    while not said.endswith(b'{"status":"ok"}'):
        said += sock.recv(65536)
    assert said.startswith(b"HTTP/1.1 200 ")


def _dribble(sock: socket.socket, data: bytes, pause: float) -> None:
    """Send a byte now and then until nobody wants more."""
    with suppress(OSError):
        for byte in data:
            sock.send(bytes([byte]))
            time.sleep(pause)


def test_a_connection_without_a_request_is_ended(service: Service) -> None:
    with connection(service) as sock:
        seconds, said = seconds_until_closed(sock)
    assert EARLIEST <= seconds < TOO_LONG
    assert said.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("is_second", [False, True], ids=["first", "second"])
def test_a_head_that_comes_byte_by_byte_is_not_waited_for(service: Service, is_second: bool) -> None:
    with connection(service) as sock:
        if is_second:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            _read_health(sock)
        slow = b"GET /healthz HTTP/1.1\r\nHost: " + b"x" * 400
        sender = threading.Thread(target=_dribble, args=(sock, slow, 0.05))
        sender.start()
        seconds, said = seconds_until_closed(sock)
        sender.join()
    assert EARLIEST <= seconds < TOO_LONG
    assert not said or said.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("kind", ["Content-Length: 4000", "Transfer-Encoding: chunked"])
def test_a_body_that_comes_byte_by_byte_is_not_waited_for(service: Service, kind: str) -> None:
    body = b"{" + b" " * 400
    if "chunked" in kind:
        body = b"1\r\n \r\n" * 100
    with connection(service) as sock:
        sock.sendall(_head(service, "Content-Type: application/json", kind))
        sender = threading.Thread(target=_dribble, args=(sock, body, 0.05))
        sender.start()
        seconds, said = seconds_until_closed(sock)
        sender.join()
    assert EARLIEST <= seconds < TOO_LONG
    assert not said or said.startswith(b"HTTP/1.1 408 ")


def test_less_than_the_announced_body_is_no_body(service: Service) -> None:
    with connection(service) as sock:
        body = b'{"name": "half", "short_code": "half"}'
        sock.sendall(
            _head(service, f"Content-Length: {len(body) + 1}", "Content-Type: application/json") + body
        )
        seconds, said = seconds_until_closed(sock)
    assert EARLIEST <= seconds < TOO_LONG
    assert said.startswith(b"HTTP/1.1 408 ")
    assert "half" not in service.http.get("/admin/locations").text


def test_more_than_the_announced_body_is_no_part_of_it(service: Service) -> None:
    body = b'{"name": "cut", "short_code": "cut"}'
    request = _head(service, f"Content-Length: {len(body)}", "Content-Type: application/json")
    said = exchange(service, request + body + b"\x00garbage\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 201 ")
    assert said.count(b"HTTP/1.1 ") <= 2
    assert b"Traceback" not in said


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_is_too_large_is_refused_and_not_read_for_ever(
    service: Service, is_chunked: bool
) -> None:
    """The client goes on sending whatever it is told."""
    kind = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 99999999999"
    with connection(service) as sock:
        sock.sendall(_head(service, kind))
        part = b"x" * 1000
        piece = b"3e8\r\n" + part + b"\r\n" if is_chunked else part

        def send() -> None:
            with suppress(OSError):
                while True:
                    sock.sendall(piece)
                    time.sleep(0.01)

        sender = threading.Thread(target=send)
        sender.start()
        seconds, said = seconds_until_closed(sock)
        sender.join()
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b'"payload_too_large"' in said
    assert seconds < TOO_LONG


def test_what_fits_is_read_however_it_comes(service: Service) -> None:
    def pieces() -> Iterator[bytes]:
        for byte in json.dumps({"name": "piecemeal", "short_code": "pieces"}).encode():
            yield bytes([byte])

    headers = {"Content-Type": "application/json"}
    assert service.http.post("/admin/locations", content=pieces(), headers=headers).status_code == 201
    padded = b'{"name": "padded", "short_code": "padded"}'.ljust(LIMIT)
    assert service.http.post("/admin/locations", content=padded, headers=headers).status_code == 201
    assert service.http.post("/admin/locations", content=padded + b" ", headers=headers).status_code == 413


def test_a_client_that_does_not_read_is_left(service: Service) -> None:
    """It asks for far more than fits between the two, and reads nothing of it."""
    with connection(service, receive_buffer=4096) as sock:
        request = _head(service, method="GET", path="/api/v1/openapi.json")
        sock.settimeout(TOO_LONG * 3)
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < TOO_LONG * 3:
                sock.sendall(request)
                time.sleep(0.02)
    assert time.monotonic() - began < TOO_LONG * 3
    assert "does not read its answer" in (service.state / "serve.log").read_text()


def test_a_client_that_reads_slowly_gets_all_of_it(service: Service) -> None:
    whole = plain_http.get(str(service.http.base_url).rstrip("/") + "/openapi.json").content
    with connection(service, receive_buffer=4096) as sock:
        path = "/api/v1/openapi.json"
        sock.sendall(_head(service, "Connection: close", method="GET", path=path))
        read = b""
        while part := sock.recv(65536):
            read += part
            time.sleep(0.02)
    assert read.endswith(whole)


def test_an_idle_connection_serves_a_second_request_and_is_ended_then(service: Service) -> None:
    with connection(service) as sock:
        for pause in (0, 1.5 * SECONDS):
            time.sleep(pause)
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            _read_health(sock)
        seconds, said = seconds_until_closed(sock)
    assert 4 < seconds < 10
    assert said == b""


def test_others_are_served_while_hundreds_are_slow(service: Service) -> None:
    with connection(service) as sock:
        slow = [socket.create_connection(sock.getpeername()) for _ in range(300)]
        try:
            for each in slow:
                each.sendall(b"GET /healthz HTTP/1.1\r\n")
            began = time.monotonic()
            assert service.http.get("/admin/locations").status_code == 200
            assert time.monotonic() - began < TOO_LONG
            for each in slow:
                each.settimeout(TOO_LONG * 2)
                rest_of(each)
        finally:
            for each in slow:
                each.close()
