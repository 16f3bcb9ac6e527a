"""A guest's network: a loopback interface of its own, sshd on it, and the way in for the sandbox.

Nothing leads out of it. The sandbox listens on an address of the host, asks here for a connection (one byte on
the `dial` socket) and gets a socket inside, connected to sshd.
"""

import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jotunheim.sandbox.guests import linux, netlink

SSH_PORT = 22
SSHD = "/usr/sbin/sshd"
WAITING = 32


class Network:
    """sshd's port in the guest, and the sandbox's way to it."""

    def __init__(
        self, selector: selectors.BaseSelector, dial: socket.socket, start: Callable[[list[str], int], None]
    ) -> None:
        self.selector = selector
        self.dial = dial
        self.start = start

    def up(self, devices: list[dict[str, Any]]) -> bool:
        """Bring the network up and accept connections. Returns whether all devices could be made."""
        linux.link_up("lo")
        listener = socket.create_server(("", SSH_PORT), backlog=WAITING)
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        self.selector.register(self.dial, selectors.EVENT_READ, self._on_dial)
        try:
            for device in devices:
                netlink.make_device(device)
        except (OSError, ValueError):
            return False
        return True

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(True)
        with connection:
            # One process for each connection, with the configuration as it is now; none while nobody is connected.
            self.start([SSHD, "-i"], connection.fileno())

    def _on_dial(self) -> None:
        if not self.dial.recv(1):
            os._exit(0)
        try:
            inside = socket.create_connection(("127.0.0.1", SSH_PORT), timeout=1)
        except OSError:
            self.dial.send(b"-")
            return
        with inside:
            try:
                socket.send_fds(self.dial, [b"+"], [inside.fileno()])
            except (
                OSError
            ):  # the kernel counts descriptors under way by user id: another guest's may be too many
                self.dial.send(b"-")


def has_sshd() -> bool:
    """Whether the host has the program that guests run."""
    return Path(SSHD).exists()
