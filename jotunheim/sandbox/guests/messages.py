"""Messages between the sandbox and a guest's init: a JSON object, and bytes that need no encoding.

On the wire: the lengths of both, four bytes each, big-endian, then both.
"""

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("!II")
LARGEST = 64 * 1024 * 1024
"""More than two streams of output of the greatest length."""

Message = tuple[dict[str, Any], bytes]


def pack(content: dict[str, Any], data: bytes = b"") -> bytes:
    """A message as it is sent."""
    text = json.dumps(content).encode()
    return HEADER.pack(len(text), len(data)) + text + data


def receive(channel: socket.socket) -> Message | None:
    """The next message of a blocking socket; None when the other side is gone."""
    header = _exactly(channel, HEADER.size)
    if header is None:
        return None
    lengths = HEADER.unpack(header)
    text, data = _exactly(channel, lengths[0]), _exactly(channel, lengths[1])
    return None if text is None or data is None else (json.loads(text), data)


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(min(1024 * 1024, count - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)


class AgentError(Exception):
    """What the guest agent refuses, in its words."""
