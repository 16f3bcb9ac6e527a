"""The guest agent's calls that run programs and carry files: asked again while it is silent, with errors that say what to do.

All that is sent is ASCII: Proxmox VE hands other texts to the agent as Latin-1, and reads what comes back so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ansible_collections.jotunheim.pve.plugins.plugin_utils import agent
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import (
    GuestRefusedError,
    GuestUnreachableError,
    ProxmoxRequestError,
    ProxmoxUnavailableError,
)
from jotunheim.repositories.proxmox.tasks import pauses

Answer = TypeVar("Answer")

MOST_INPUT = 65_536
"""Characters of a program's input that Proxmox VE takes."""
MOST_CONTENT = 61_440
"""Characters of a file's content that it takes."""

# Most modules take some tenths of a second: a look costs less than the time that is slept for too long.
_FIRST_PAUSE_SECONDS = 0.01
_PAUSE_GROWTH = 1.2
_HURRIED_SECONDS = 3
_MOST_SHOWN = 300

# PVE pings the agent first, so nothing was sent to it, and while file systems are frozen for a backup the agent does nothing
# else. Of what it did not answer it may have done anything.
_NOT_SENT = re.compile(
    r"QEMU guest agent is not running|Connection refused|unable to connect to VM \d+ qga", re.IGNORECASE
)
_FROZEN = re.compile(r"frozen state", re.IGNORECASE)
_UNSURE = re.compile(r"qmp command '.*' failed", re.IGNORECASE)
_FORGOTTEN = re.compile(r"Invalid parameter 'pid'|PID -?\d+ does not exist", re.IGNORECASE)
_FORBIDDEN = re.compile(r"guest-[a-z-]+\W.*(disabled|not allowed|not been found)", re.IGNORECASE)

_NEEDED = {"guest-exec", "guest-exec-status", "guest-file-open", "guest-file-write", "guest-file-read"}

_INSTALL = "Is the guest up, and qemu-guest-agent installed and running in it? SSH works without it."
_SWITCH_ON = (
    "Set pve_config_agent (`agent: 1`), restart the server, and install qemu-guest-agent in it; or use SSH."
)
_ALLOW = (
    "The guest does not let its agent do this: see the blocked and allowed commands in its "
    "/etc/sysconfig/qemu-ga or /etc/qemu/qemu-ga.conf; or use SSH."
)


class GuestCalls:
    """The agent of one VM. Methods raise GuestUnreachableError, GuestRefusedError and what `ProxmoxClient` raises.

    Args:
        patience_seconds: how long a silent agent is asked again, e.g. while the guest boots.
    """

    def __init__(self, vm: Vm, patience_seconds: float) -> None:
        self._vm = vm
        self._patience_seconds = patience_seconds

    def hurried(self) -> GuestCalls:
        """The same agent, for what is not worth waiting for."""
        return GuestCalls(self._vm, min(self._patience_seconds, _HURRIED_SECONDS))

    def start(self, words: Sequence[str], given: str | None = None, *, repeatable: bool) -> int | None:
        """Start a program. Returns its process id; None: whether it was started is not known.

        Args:
            given: its standard input.
            repeatable: it may be started again when that is not known.
        """

        def start() -> int:
            path = self._vm.path("agent", "exec")
            return int(self._vm.client.post(path, command=list(words), **{"input-data": given})["pid"])

        return self._ask(start, repeatable=repeatable)

    def wait(self, pid: int, until: float | None) -> dict[str, Any] | None:
        """The agent's answer about a program that has ended; None: a signal ended it, or the agent does not know it any more.

        Args:
            until: on the monotonic clock; None: for ever.

        Raises:
            TimeoutError: the program runs on.
        """
        for pause in pauses(_FIRST_PAUSE_SECONDS, _PAUSE_GROWTH):
            time.sleep(pause)
            status = self._ask(lambda: self._status(pid))
            if not status or "signal" in status:
                return None
            if status["exited"]:
                return status
            if until is not None and time.monotonic() > until:
                raise TimeoutError
        raise AssertionError("pauses() does not end")

    def write(self, file: str, content: str) -> None:
        """Write a small file anew."""

        def write() -> None:
            self._vm.client.post(self._vm.path("agent", "file-write"), file=file, content=content)

        self._ask(write)

    def read(self, file: str) -> bytes:
        """A file, or its first 16 MiB."""
        path = self._vm.path("agent", "file-read")
        answer = self._ask(lambda: dict(self._vm.client.get(path, file=file)))
        return as_bytes((answer or {}).get("content", ""))

    def _status(self, pid: int) -> dict[str, Any]:
        try:
            return dict(self._vm.client.get(self._vm.path("agent", "exec-status"), pid=pid))
        except ProxmoxRequestError as error:
            if _FORGOTTEN.search(error.message):
                return {}
            raise

    def _ask(self, request: Callable[[], Answer], *, repeatable: bool = True) -> Answer | None:
        """The answer to a request; None: it may have had an effect, and is not to be sent again then."""
        deadline = time.monotonic() + self._patience_seconds
        for pause in pauses():
            try:
                return request()
            except ProxmoxRequestError as error:
                away = isinstance(error, ProxmoxUnavailableError)
                if _was_not_sent(error):
                    sent = False
                elif away or _UNSURE.search(error.message):
                    sent = True
                else:
                    raise _explained(error) from None
                if sent and not repeatable:
                    return None
                if time.monotonic() + pause > deadline:
                    raise GuestUnreachableError(
                        f"VM {self._vm.vmid}: no answer from the guest agent for {self._patience_seconds:g} s: {error.message}",
                        hint=error.hint if away else _INSTALL,
                    ) from None
            time.sleep(pause)
        raise AssertionError("pauses() does not end")


def require_agent(vm: Vm, config: Mapping[str, Any]) -> None:
    """Raise GuestUnreachableError when a VM with this configuration cannot have an agent that runs our commands."""
    if str(config.get("ostype", "")).startswith("w"):
        raise GuestUnreachableError(
            f"VM {vm.vmid} has Windows, in whose guests nothing is run through the agent.",
            hint="Use another connection.",
        )
    if not agent.enabled(config):
        raise GuestUnreachableError(f"VM {vm.vmid} has no guest agent switched on.", hint=_SWITCH_ON)


def why_no_commands(vm: Vm, config: Mapping[str, Any], timeout_seconds: float) -> str:
    """Why the guest's agent runs no commands for us; empty: it does.

    Args:
        timeout_seconds: how long a silent agent is waited for.
    """
    try:
        require_agent(vm, config)
    except GuestUnreachableError as error:
        return error.message
    told = agent.ask(vm, "info", timeout_seconds)
    if told is None:
        return "The guest agent does not answer."
    commands = told.get("result", {}).get("supported_commands", [])
    closed = _NEEDED & {command["name"] for command in commands if not command.get("enabled", True)}
    return f"The guest does not let its agent do this: {', '.join(sorted(closed))}." if closed else ""


def as_bytes(text: str) -> bytes:
    """The guest's bytes, which Proxmox VE reads as Latin-1."""
    return text.encode("latin-1")


def printable(text: str) -> str:
    """What a guest says, as part of an error's message: it may be anything, and long."""
    words = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "?" for letter in words[:_MOST_SHOWN])


def _was_not_sent(error: ProxmoxRequestError) -> bool:
    refused = agent.REFUSED.search(error.message)  # the guest's own words follow, whatever they are
    return bool((_FROZEN if refused else _NOT_SENT).search(error.message))


def _explained(error: ProxmoxRequestError) -> ProxmoxRequestError:
    """The error of a call, as one that says what to do."""
    refused = agent.REFUSED.search(error.message)
    if refused is None and agent.NONE.search(error.message):
        stopped = "is not running" in error.message
        return GuestUnreachableError(error.message, hint="Start the server." if stopped else _SWITCH_ON)
    if refused is None:
        return error
    return GuestRefusedError(
        f"The guest's agent refused: {printable(refused[1])}",
        hint=_ALLOW if _FORBIDDEN.search(error.message) else None,
    )
