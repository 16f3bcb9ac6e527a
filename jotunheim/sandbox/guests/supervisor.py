"""The supervisor: PID 1 above all guests. Keeps their disks and starts them; what they do is not its business.

It obeys the control socket (one JSON object per message, descriptors beside it) and tells on it what has become
of each request and when a guest has ended. Everything in it that could wait is an event of its loop.

Requests have an `id` and are answered with it: `{"id": 3}`, or with an `error`.

    create files          a disk as the template has it
    copy files source     a disk like another
    remove files
    start guest files     with the guest's two channels as descriptors; answered when its init runs
    kill guest

`{"guest": 7, "ended": "poweroff"}` (or `reboot`) tells that a guest is gone, to the last process.
"""

import gc
import json
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from jotunheim.sandbox.guests import init, store
from jotunheim.sandbox.guests.rootfs import Host
from jotunheim.sandbox.guests.spawn import Birth, begin

LONGEST_MESSAGE = 65_536
Request = dict[str, Any]


class Supervisor:
    """The state of the one supervisor process."""

    def __init__(self, control: socket.socket, host: Host) -> None:
        self.control = control
        self.host = host
        # Not epoll: the kernel counts its watches by user id, and guests have the same ids.
        self.selector = selectors.PollSelector()
        self.births: dict[int, tuple[Birth, Request]] = {}
        self.guests: dict[int, int] = {}
        """The number of each guest, by the process id of its init."""
        self.copies: dict[int, tuple[subprocess.Popen[bytes], Request]] = {}
        self.unclaimed: dict[int, str] = {}
        """How processes have ended whose purpose is not known yet."""

    def run(self) -> None:
        """Serve until the sandbox is gone."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.control, selectors.EVENT_READ, self._on_request)
        self.selector.register(woken, selectors.EVENT_READ, lambda: self._on_child(woken))
        gc.collect()
        gc.freeze()  # a guest's init is a copy of this process: what is not touched stays shared
        self._tell({"ready": True})
        while True:
            for key, _ in self.selector.select():
                handler: Callable[[], None] = key.data
                handler()

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self.control.send(json.dumps(message).encode())
        except OSError:
            os._exit(0)

    def _on_request(self) -> None:
        text, descriptors, _, _ = socket.recv_fds(self.control, LONGEST_MESSAGE, 4)
        if not text:
            os._exit(0)
        request = json.loads(text)
        try:
            if self._do(request, descriptors):
                self._tell({"id": request["id"]})
        except (OSError, ValueError) as error:
            self._tell({"id": request["id"], "error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _do(self, request: Request, descriptors: list[int]) -> bool:
        """Begin what is asked. Returns whether it is done."""
        match request["op"]:
            case "create":
                store.create(request["files"], self.host)
            case "copy":
                process = store.begin_copy(request["files"], request["source"], self.host)
                self.copies[process.pid] = (process, request)
                return False
            case "remove":
                store.remove(request["files"])
            case "start":
                self._start(request, descriptors)
                return False
            case "kill":
                for pid, guest in self.guests.items():
                    if guest == request["guest"]:
                        os.kill(pid, signal.SIGKILL)
        return True

    def _start(self, request: Request, descriptors: list[int]) -> None:
        volume, slot = store.path_of(request["files"]), int(request["guest"])
        birth = begin(slot, lambda: init.main(volume, self.host, descriptors))
        self.births[birth.channel.fileno()] = (birth, request)
        self.selector.register(birth.channel, selectors.EVENT_READ, lambda: self._on_birth(birth, request))

    def _on_birth(self, birth: Birth, request: Request) -> None:
        """A guest that is being started has got a step further."""
        try:
            pid = birth.advance()
        except OSError as error:
            self._born(birth)
            self._tell({"id": request["id"], "error": str(error)})
            return
        if pid is None:
            return
        self._born(birth)
        self.guests[pid] = request["guest"]
        self._tell({"id": request["id"]})
        if pid in self.unclaimed:
            self._ended(pid, self.unclaimed.pop(pid))

    def _born(self, birth: Birth) -> None:
        self.selector.unregister(birth.channel)
        del self.births[birth.channel.fileno()]
        birth.channel.close()

    def _on_child(self, woken: int) -> None:
        try:
            os.read(woken, 4096)
        except BlockingIOError:
            return
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._reaped(pid, status)

    def _reaped(self, pid: int, status: int) -> None:
        if pid in self.copies:
            process, request = self.copies.pop(pid)
            process.returncode = status  # it has been waited for
            # A disk in use changes under the copy, which `cp` reports; the rest is there.
            self._tell({"id": request["id"]})
        elif pid in self.guests:
            self._ended(pid, init.how_it_ended(status))
        elif self.births:
            self.unclaimed[pid] = init.how_it_ended(status)
        else:
            self.unclaimed.clear()

    def _ended(self, pid: int, how: str) -> None:
        self._tell({"guest": self.guests.pop(pid), "ended": how})
