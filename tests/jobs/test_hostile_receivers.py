"""Receivers that do whatever they like: each attempt ends in time, and says what was wrong."""

import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from jotunheim.data.webhook.kinds import AttemptError
from jotunheim.data.webhook.url import Receiver
from jotunheim.jobs.webhook.sending import Sender
from jotunheim.sandbox import tls
from jotunheim.services.webhooks.outgoing import Outcome, Parcel
from jotunheim.settings import Settings

SECONDS = 0.6
BODY = b'{"id":"x"}'
Answer = Callable[[socket.socket], None]


@dataclass
class Hostile:
    """Speaks bytes on loopback."""

    sender: Sender
    context: ssl.SSLContext

    def send(self, answer: Answer, *, encrypted: bool = True, address: str = "127.0.0.1") -> Outcome:
        """What comes of an attempt at a receiver that answers so."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 0), family=family) as server:
            thread = threading.Thread(target=self._serve, args=(server, answer, encrypted), daemon=True)
            thread.start()
            host = f"[{address}]" if ":" in address else address
            receiver = Receiver.parse(f"https://{host}:{server.getsockname()[1]}/")
            loopback = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
            outcome = self.sender.send(
                Parcel(receiver, loopback, uuid.uuid4(), BODY, (b"k" * 32,), datetime.now(UTC))
            )
            thread.join(5)
            return outcome

    def _serve(self, server: socket.socket, answer: Answer, encrypted: bool) -> None:
        with suppress(OSError), server.accept()[0] as plain:
            if not encrypted:
                answer(plain)
                return
            with self.context.wrap_socket(plain, server_side=True) as secure:
                got = b""
                while not got.endswith(BODY):
                    got += secure.recv(65536)
                answer(secure)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """With a certificate for loopback, in both families."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    identity = tls.load_or_make(folder, "::1")
    settings = Settings(state_dir=folder, webhook_ca_file=identity.ca_file, webhook_timeout_seconds=SECONDS)
    return Hostile(Sender(settings), identity.context())


def says(data: bytes) -> Answer:
    """Says this and no more."""
    return lambda connection: connection.sendall(data)


def goes_on(data: bytes, first: bytes = b"", pause: float = 0) -> Answer:
    """Says this again and again."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(data)
            time.sleep(pause)

    return answer


def silent(connection: socket.socket) -> None:
    """Says nothing until the other side goes away."""
    while connection.recv(65536):
        pass


def status(code: int, *headers: bytes) -> bytes:
    """The head of an answer without a body."""
    return b"\r\n".join([b"HTTP/1.1 %d X" % code, b"Content-Length: 0", *headers, b"", b""])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says(status(204)), (204, None)),
        (says(status(999)), (999, AttemptError.STATUS)),
        (says(b"\x00\xffgarbage\r\n\r\n"), (None, AttemptError.PROTOCOL)),
        (says(b""), (None, AttemptError.PROTOCOL)),
        (says(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), (None, AttemptError.PROTOCOL)),
        (goes_on(b"X: " + b"a" * 1000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"), (None, AttemptError.PROTOCOL)),
        (goes_on(b"HTTP/1.1 100 Continue\r\n\r\n"), (None, AttemptError.TIMEOUT)),
        (goes_on(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.1), (None, AttemptError.TIMEOUT)),
        (goes_on(b"a", b"HTTP/1.1 200 ", 0.1), (None, AttemptError.TIMEOUT)),
        (silent, (None, AttemptError.TIMEOUT)),
        (goes_on(b"1\r\na\r\n", CHUNKED, 0.1), (200, None)),
        (goes_on(b"1000\r\n" + b"a" * 4096 + b"\r\n", CHUNKED), (200, None)),
        (says(CHUNKED + b"zz\r\n"), (200, None)),
    ],
)  # fmt: skip
def test_an_attempt_ends_in_time_with_the_right_outcome(
    hostile: Hostile, answer: Answer, expected: tuple[int | None, AttemptError | None]
) -> None:
    began = time.monotonic()
    outcome = hostile.send(answer)
    assert (outcome.status_code, outcome.error) == expected, outcome.detail
    assert time.monotonic() - began < SECONDS + 2
    assert outcome.detail is None or outcome.detail.isprintable()


def test_whoever_speaks_no_tls_is_told_nothing(hostile: Hostile) -> None:
    assert hostile.send(says(b"SSH-2.0-x\r\n"), encrypted=False).error is AttemptError.TLS
    assert hostile.send(silent, encrypted=False).error in (AttemptError.UNREACHABLE, AttemptError.TIMEOUT)


def test_an_ipv6_address_is_called(hostile: Hostile) -> None:
    assert hostile.send(says(status(200)), address="::1").error is None


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (b"120", 120, 120),
        (b"9" * 5000, 10**8, 10**9),
        (b"IN AN HOUR", 3500, 3600),
        (b"AN HOUR AGO", 0, 0),
        (b"Fri, 99 Foo 99999 99:99:99 GMT", None, None),
        (b"\xb2", None, None),
        (b"-5", None, None),
    ],
)
def test_retry_after_is_understood_or_ignored(
    hostile: Hostile, value: bytes, least: float | None, most: float | None
) -> None:
    for words, hours in ((b"IN AN HOUR", 1), (b"AN HOUR AGO", -1)):
        at = datetime.now(UTC) + timedelta(hours=hours)
        value = value.replace(words, format_datetime(at, usegmt=True).encode())
    outcome = hostile.send(says(status(503, b"Retry-After: " + value)))
    assert outcome.error is AttemptError.STATUS
    if least is None or most is None:
        assert outcome.retry_after_seconds is None
    else:
        assert outcome.retry_after_seconds is not None
        assert least <= outcome.retry_after_seconds <= most
