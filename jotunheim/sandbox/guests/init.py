"""The first process of a guest: reaps the dead, starts programs and sshd, answers the sandbox.

It plays the parts of the kernel's console, systemd, the guest agent and cloud-init. It is the only process
that has the channels to the sandbox, and nobody in the guest can look into it: it cannot be traced, and
the kernel delivers no signal to it that it does not want.

How it ends tells what the guest wants: `poweroff` or `reboot`, by its exit code or, after reboot(2), by the
signal that the kernel reports.
"""

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, FrozenImporter
from pathlib import Path
from typing import Any

from jotunheim.sandbox.guests import accounts, cloudinit, files, linux, messages, netlink, rootfs, seccomp
from jotunheim.sandbox.guests.network import Network
from jotunheim.sandbox.guests.programs import Programs

POWEROFF, REBOOT = 10, 11


def how_it_ended(status: int) -> str:
    """The wait status of a guest's init in a word."""
    if os.WIFSIGNALED(status):
        return "reboot" if os.WTERMSIG(status) == signal.SIGHUP else "poweroff"
    return "reboot" if os.WEXITSTATUS(status) == REBOOT else "poweroff"


def main(volume: Path, host: rootfs.Host, descriptors: list[int]) -> None:
    """Run a guest on the files of a disk. Never returns."""
    channel, dial = (socket.socket(fileno=os.dup(number)) for number in descriptors)
    signal.set_wakeup_fd(-1)
    os.setsid()
    linux.set_name("/sbin/init")
    linux.set_dumpable(dumpable=False)
    _close_all_but({0, 1, 2, channel.fileno(), dial.fileno()})
    rootfs.enter_guest(volume, host)
    linux.forget_terminal()
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter]  # what was a folder of the host is the guest's now
    seccomp.restrict()
    Init(channel, dial).run()


def _close_all_but(kept: set[int]) -> None:
    last = 3
    for number in [*sorted(n for n in kept if n >= last), OPEN_END]:
        os.closerange(last, number)
        last = number + 1


OPEN_END = 65_536


class Init:
    """A guest from the inside."""

    def __init__(self, channel: socket.socket, dial: socket.socket) -> None:
        self.channel = channel
        self.selector = selectors.PollSelector()  # as in the supervisor
        self.programs = Programs(self.selector)
        self.network = Network(self.selector, dial, self.programs.start_detached)
        self.cloud_init = cloudinit.CloudInit()
        self.going: int | None = None
        """The exit code of a guest that is shutting down."""
        self.deadline: float | None = None

    def run(self) -> None:
        """Serve until the guest ends."""
        woken, wake = os.pipe()
        for descriptor in (woken, wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGUSR2, lambda *_: self._go_down(POWEROFF))
        signal.signal(signal.SIGRTMIN + 4, lambda *_: self._go_down(POWEROFF))
        signal.signal(signal.SIGINT, lambda *_: self._go_down(REBOOT))
        signal.signal(signal.SIGRTMIN + 5, lambda *_: self._go_down(REBOOT))
        self.selector.register(self.channel, selectors.EVENT_READ, self._on_message)
        self.selector.register(woken, selectors.EVENT_READ, lambda: self._on_signal(woken))
        while True:
            for key, _ in self.selector.select(self._patience()):
                handler: Callable[[], None] = key.data
                handler()
            if self.deadline is not None and time.monotonic() >= self.deadline:
                os._exit(self.going or POWEROFF)

    def _patience(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def _go_down(self, code: int, seconds: float = 0.5) -> None:
        """Ask all processes to end; what remains after that time ends with this one."""
        if self.going is not None:
            return
        self.going, self.deadline = code, time.monotonic() + seconds
        _signal_all(signal.SIGTERM)
        _signal_all(signal.SIGCONT)

    def _on_signal(self, woken: int) -> None:
        try:
            os.read(woken, 4096)
        except BlockingIOError:
            return
        if not self.programs.reap() and self.going is not None:
            os._exit(self.going)

    def _on_message(self) -> None:
        try:
            message = messages.receive(self.channel)
        except OSError:
            message = None
        if message is None:
            os._exit(POWEROFF)  # the sandbox has pulled the plug, or is gone
        request, data = message
        try:
            answer, body = self._do(request, data)
        except messages.AgentError as error:
            answer, body = {"refused": str(error)}, b""
        except (OSError, ValueError, KeyError) as error:
            answer, body = {"failed": f"{type(error).__name__}: {error}"}, b""
        try:
            self.channel.sendall(messages.pack({"id": request["id"], **answer}, body))
        except OSError:
            os._exit(POWEROFF)

    def _do(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        match request["op"]:
            case "boot":
                made = self.network.up(request["devices"])
                self.cloud_init.begin(request)
                return {"devices": made}, b""
            case "finish":
                self.cloud_init.finish(request["user"], request["password"])
            case "exec":
                return {"pid": self.programs.start(request["words"], data if request["input"] else None)}, b""
            case "exec-status":
                return self.programs.status(request["pid"])
            case "file-read":
                return files.read(request["path"])
            case "file-write":
                files.write(request["path"], data)
            case "set-user-password":
                _set_password(request["user"], request["hash"])
            case "get-osinfo":
                return {"result": files.os_info()}, b""
            case "get-host-name":
                return {"result": {"host-name": files.host_name()}}, b""
            case "network-get-interfaces":
                return {"result": netlink.interfaces()}, b""
            case "get-users":
                return {"result": files.logged_in()}, b""
            case "pause":
                _signal_all(signal.SIGSTOP)
            case "resume":
                _signal_all(signal.SIGCONT)
            case "shutdown":
                self._go_down(POWEROFF, float(request["seconds"]))
        return {}, b""


def _set_password(user: str, password_hash: str) -> None:
    try:
        accounts.set_hash(user, password_hash)
    except accounts.NoAccountError as error:
        raise messages.AgentError("child process has failed to set user password") from error


def _signal_all(number: signal.Signals) -> None:
    """Send a signal to every process of the guest but this one."""
    try:
        os.kill(-1, number)
    except ProcessLookupError:
        return
