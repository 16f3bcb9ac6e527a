"""A connection of which a client cannot keep hold by being slow.

uvicorn closes connections that are idle between two requests, and no others: it waits for ever for the rest of a head or
body, and for a client that does not read. A middleware sees neither heads nor what the socket still holds, so this is a
protocol.
"""

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from jotunheim.routes.headers import SECURITY

TICKS = 8
"""How often within the time that a client has it is looked at."""
PROGRESS_BYTES = 4096
"""What a client must take of an answer in that time; less is no reading."""

log = logging.getLogger(__name__)


def bounded(seconds: float, at_once: int) -> type[H11Protocol]:
    """uvicorn's protocol, for clients that have so long for a head, for a body, and to take something of an answer.

    Args:
        at_once: how many connections may be open; uvicorn's own limit refuses requests on those that there are already.
    """
    return type("BoundedConnection", (BoundedConnection,), {"seconds": seconds, "at_once": at_once})


class BoundedConnection(H11Protocol):
    """One connection."""

    seconds: float = 30.0
    at_once: int = 4000

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.next_event = self._next_event  # type: ignore[method-assign]  # h11 has no hook
        self._watch: asyncio.TimerHandle | None = None
        self._owed: object | None = None
        """What the client has begun and not ended: IDLE a head, SEND_BODY a body; None: nothing."""
        self._owed_since = 0.0
        self._unsent = 0
        self._progress_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > self.at_once:
            log.info("More connections than may be open at once: one is refused.")
            self._refuse(503, b"Service Unavailable", (b"retry-after", b"1"))
            return
        self._owe(h11.IDLE)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and note what is still to come."""
        super().data_received(data)
        state = self.conn.their_state
        self._owe(state if state in (h11.IDLE, h11.SEND_BODY) else None)

    def _next_event(self) -> Any:
        event = h11.Connection.next_event(self.conn)
        if isinstance(event, h11.Request) and _has_two_lengths(event):
            raise h11.RemoteProtocolError("two lengths")
        return event

    def on_response_complete(self) -> None:
        """Go on to the next request; what has come of it already has to be ended as well."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._owe(h11.IDLE if self.conn.trailing_data[0] else None)

    def resume_writing(self) -> None:
        """The client has read."""
        self._progress_at = self.loop.time()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP: no more than a status, and the connection ends."""
        del msg
        self._refuse(400, b"Bad Request")

    def _owe(self, what: object | None) -> None:
        if what is not self._owed:
            self._owed, self._owed_since = what, self.loop.time()

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(self.seconds / TICKS, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent <= self._unsent - PROGRESS_BYTES or not self._unsent:
            self._unsent, self._progress_at = unsent, now
        if now - self._progress_at >= self.seconds:
            log.info("A client does not read its answer.")
            self.transport.abort()
            return
        if self._owed and now - self._owed_since >= self.seconds and not self.transport.is_closing():
            self._refuse(408, b"Request Timeout")
        self._look_later()

    def _refuse(self, status: int, reason: bytes, *more: tuple[bytes, bytes]) -> None:
        """Answer with a bare status, unless an answer has begun, and end the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            # Whoever is at work on it is told that nobody listens.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        headers = [
            *((name.lower().encode(), value.encode()) for name, value in SECURITY.items()),
            (b"content-length", b"0"),
            (b"connection", b"close"),
            *more,
        ]
        answer = h11.Response(status_code=status, headers=headers, reason=reason)
        self.transport.write(self.conn.send(answer) + self.conn.send(h11.EndOfMessage()))
        self.transport.close()


def _has_two_lengths(request: h11.Request) -> bool:
    """Whether a proxy may see the end of a request elsewhere than we do, and a hidden one behind it (RFC 9112, section 6.3)."""
    names = {name for name, _ in request.headers}
    return b"transfer-encoding" in names and (b"content-length" in names or request.http_version != b"1.1")
