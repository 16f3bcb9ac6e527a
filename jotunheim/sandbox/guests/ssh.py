"""Where a guest's sshd is reached: a loopback address of the host, and the relay between it and the guest."""

import asyncio
import errno
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable, Container
from ipaddress import IPv4Address
from typing import Any

log = logging.getLogger("jotunheim.sandbox")

PORT, OTHER_PORT = 22, 10_022
"""The second where the first may not be used: without root's rights, or if the host's own sshd has it."""
PROBED = "127.255.255.254"
TRIES = 20
CHUNK = 65_536
Dial = Callable[[], Awaitable[socket.socket]]


class Door:
    """An address and port of the host that belong to one guest; nobody is let in before `open`."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        host, self.port = bound.getsockname()[:2]
        self.host = str(host)

    @classmethod
    def claim(cls, vmid: int, configured: str | None, taken: Container[str], port: int) -> "Door | None":
        """Take the address that the VM is configured with, or one that follows from its id.

        Returns:
            None if the configured address belongs to another guest, as two machines would be in each other's way.
        """
        candidates = [configured] if configured else [address_of(vmid, attempt) for attempt in range(TRIES)]
        for address in candidates:
            bound = None if address in taken else _bind(address, port)
            if bound:
                return cls(bound)
        log.warning("VM %s: sshd cannot be reached, %s is in use", vmid, configured or "every address tried")
        return None

    async def open(self, dial: Dial) -> None:
        """Let clients in."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)
            await _relay(reader, writer, dial)

        self._server = await asyncio.start_server(accept, sock=self._bound)

    def close(self) -> None:
        """Let nobody in any more, and cut off who is inside."""
        if self._server:
            self._server.close()
        self._bound.close()
        for relay in self._relays:
            relay.cancel()


def address_of(vmid: int, attempt: int = 0) -> str:
    """The loopback address of a VM without one in its configuration: always the same, from 127.128.0.0/9."""
    digest = hashlib.sha256(f"{vmid}/{attempt}".encode()).digest()
    offset = vmid if attempt == 0 and vmid < 0x7F_FFFF else int.from_bytes(digest[:3], "big") & 0x7F_FFFF
    return str(IPv4Address("127.128.0.0") + offset)


def usable_port() -> int:
    """The port on which guests are reached: 22 if this process may have it."""
    probe = _bind(PROBED, PORT)
    if probe is None:
        return OTHER_PORT
    probe.close()
    return PORT


def _bind(address: str, port: int) -> socket.socket | None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EADDRINUSE):
            raise
        return None
    return bound


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dial: Dial) -> None:
    try:
        inside_reader, inside_writer = await asyncio.open_connection(sock=await dial())
    except (OSError, TimeoutError):
        writer.close()
        return
    try:
        await asyncio.gather(_pump(reader, inside_writer), _pump(inside_reader, writer))
    except OSError:
        return  # one of the two has hung up
    finally:
        writer.close()
        inside_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def described(door: Door | None) -> dict[str, Any] | None:
    """Host and port as the control endpoint shows them."""
    return {"host": door.host, "port": door.port} if door else None
