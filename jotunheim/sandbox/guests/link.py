"""The sandbox's ends of the channels: to the supervisor, and to the init of each guest."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from jotunheim.sandbox.guests import messages
from jotunheim.sandbox.guests.messages import AgentError, Message
from jotunheim.sandbox.guests.supervisor import LONGEST_MESSAGE

ENTRY = "import sys; sys.path.insert(0, sys.argv.pop(1)); from jotunheim.sandbox.guests.launch import main; main()"
AT_A_TIME = 16
"""Requests to the supervisor: their answers must fit into the socket's buffer."""
COPIES = 8
"""Copies of disks at a time. A guest can hold one up: the other requests need not wait for it."""
START_SECONDS = 30
ANSWER_SECONDS = 10.0
"""How long PVE waits for the guest agent."""
MOST_UNREAD = 4 * 1024 * 1024
"""Bytes for a guest whose init does not take them: more would only pile up here."""


class GuestsUnavailableError(Exception):
    """Guests cannot run here; the message says what is missing."""


class GuestGoneError(Exception):
    """The guest or the supervisor has ended before it answered."""


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class SupervisorLink:
    """The supervisor's process and its control socket."""

    def __init__(self, on_end: Callable[[int, str], None], on_loss: Callable[[], None]) -> None:
        self._socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: asyncio.subprocess.Process
        self._on_end = on_end
        self._on_loss = on_loss
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._copy_turn = asyncio.Semaphore(COPIES)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, on_end: Callable[[int, str], None], on_loss: Callable[[], None]) -> "SupervisorLink":
        """Start the supervisor.

        Args:
            on_end: hears of each guest that has ended, and how.
            on_loss: hears when the supervisor has ended without being asked to, and all guests with it.

        Raises:
            GuestsUnavailableError: it cannot do its work on this system.
        """
        link = cls(on_end, on_loss)
        with link._theirs as theirs:
            package = str(Path(__file__).parents[3])
            link._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-c", ENTRY, package, str(theirs.fileno()), str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()], env={"LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                start_new_session=True, cwd="/",
            )  # fmt: skip
        asyncio.get_running_loop().add_reader(link._socket, link._on_readable)
        try:
            await asyncio.wait_for(link._ready, START_SECONDS)
        except (TimeoutError, GuestGoneError) as error:
            await link.close()
            raise GuestsUnavailableError(await link._complaint()) from error
        return link

    async def _complaint(self) -> str:
        assert self._process.stderr is not None
        lines = (await self._process.stderr.read()).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the supervisor of the guests does not start"

    async def request(self, op: str, descriptors: tuple[int, ...] = (), **parameters: Any) -> None:
        """Have something done.

        Raises:
            OSError: it failed.
            GuestGoneError: the supervisor is gone.
        """
        async with self._copy_turn if op == "copy" else self._turn:
            number = next(self._numbers)
            message = json.dumps({"id": number, "op": op, **parameters}).encode()
            answer = self._waiting[number] = asyncio.get_running_loop().create_future()
            try:
                socket.send_fds(self._socket, [message], list(descriptors))
            except OSError as error:
                del self._waiting[number]
                raise GuestGoneError("the supervisor of the guests is gone") from error
            await answer

    def _on_readable(self) -> None:
        try:
            text = self._socket.recv(LONGEST_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self._lost()
            self._on_loss()
            return
        message = json.loads(text)
        if "ready" in message:
            self._ready.set_result(None)
        elif "ended" in message:
            self._on_end(message["guest"], message["ended"])
        elif answer := self._waiting.pop(message["id"], None):
            if answer.cancelled():
                return
            if "error" in message:
                answer.set_exception(OSError(message["error"]))
            else:
                answer.set_result(None)

    def _lost(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        for answer in [self._ready, *self._waiting.values()]:
            if not answer.done():
                answer.set_exception(GuestGoneError("the supervisor of the guests is gone"))
        self._waiting.clear()

    async def close(self) -> None:
        """End the supervisor, and all guests with it."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._lost()
        self._socket.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()


class GuestLink:
    """The channel to a guest's init: requests and answers; and connections into the guest."""

    def __init__(self) -> None:
        self._channel, self.their_channel = socket.socketpair()
        self._dial, self.their_dial = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._dial.setblocking(False)
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._dialling = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to talk; their ends belong to the guest now."""
        self.their_channel.close()
        self.their_dial.close()
        reader, self._writer = await asyncio.open_connection(sock=self._channel)
        self._listening = asyncio.create_task(self._listen(reader))

    async def ask(
        self, op: str, data: bytes = b"", *, within: float = ANSWER_SECONDS, **parameters: Any
    ) -> Message:
        """Have the guest do something; wait so many seconds for the answer.

        Raises:
            AgentError: the guest agent refuses.
            TimeoutError: it does not answer. It may do what it was asked all the same.
            GuestGoneError: the guest has ended.
        """
        if self._writer is None or self._listening is None or self._listening.done():
            raise GuestGoneError("the guest is gone")
        if self._writer.transport.get_write_buffer_size() > MOST_UNREAD:
            raise TimeoutError("the guest does not read what it is sent")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(messages.pack({"id": number, "op": op, **parameters}, data))
        try:
            content, body = await asyncio.wait_for(answer, within)
        finally:
            self._waiting.pop(number, None)
        if "refused" in content:
            raise AgentError(content["refused"])
        if "failed" in content:
            raise AgentError(f"the sandbox's guest broke: {content['failed']}")
        return content, body

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                lengths = messages.HEADER.unpack(await reader.readexactly(messages.HEADER.size))
                if sum(lengths) > messages.LARGEST:
                    break
                content = json.loads(await reader.readexactly(lengths[0]))
                body = await reader.readexactly(lengths[1])
                answer = self._waiting.get(content["id"])
                if answer and not answer.done():
                    answer.set_result((content, body))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(GuestGoneError("the guest is gone"))

    async def connect(self) -> socket.socket:
        """A connection to sshd inside the guest.

        Raises:
            OSError: nobody answers there.
        """
        loop = asyncio.get_running_loop()
        async with self._dialling:
            self._forget_late()
            self._dial.send(b"?")  # BlockingIOError: it takes none any more
            arrived: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._dial, _settle, arrived)
            try:
                await asyncio.wait_for(arrived, 5)
                _, descriptors, _, _ = socket.recv_fds(self._dial, 16, 1)
            finally:
                loop.remove_reader(self._dial)
        if not descriptors:
            raise ConnectionRefusedError("sshd does not answer in the guest")
        return socket.socket(fileno=descriptors[0])

    def _forget_late(self) -> None:
        """Connections that came when nobody waited for them any more."""
        with suppress(BlockingIOError):
            while True:
                answer, descriptors, _, _ = socket.recv_fds(self._dial, 16, 1)
                for descriptor in descriptors:
                    os.close(descriptor)
                if not answer:
                    return

    def close(self) -> None:
        """Pull the plug: the guest ends when it sees this."""
        for end in (self.their_channel, self.their_dial, self._dial):
            end.close()
        if self._writer:
            self._writer.close()
        else:
            self._channel.close()
        if self._listening:
            self._listening.cancel()
