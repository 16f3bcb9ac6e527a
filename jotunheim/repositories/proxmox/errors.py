"""What Proxmox VE's answers mean: one table from status and text to our typed errors.

PVE says most things with status 500 and a sentence in the reason phrase (see docs: "How Proxmox VE
really behaves"), and the same sentences come back as the exit status of tasks that fail late.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3.exceptions
from proxmoxer import ResourceException

from jotunheim.exceptions.repository import (
    ProxmoxCertificateError,
    ProxmoxConfigChangedError,
    ProxmoxLockedError,
    ProxmoxNotFoundError,
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxTaskFailedError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
    ProxmoxVmNotFoundError,
    ShutdownTimeoutError,
    VmidTakenError,
)

_UNKNOWN = "Mend what the node says, or see its task list and system log; then try again."
_UNREACHABLE = "Check that the node is up and that its port 8006 is reachable from here."


@dataclass(frozen=True)
class _Meaning:
    """One row: which statuses and texts mean which error, and what a person can do."""

    error: type[ProxmoxRequestError]
    statuses: tuple[int, ...] = ()
    text: str = ""
    hint: str | None = None

    def fits(self, status: int, text: str) -> bool:
        if self.statuses and status not in self.statuses:
            return False
        return re.search(self.text, text, re.IGNORECASE) is not None


# The first row that fits counts. Task exit statuses are looked up as status 500.
_TABLE = (
    _Meaning(
        ProxmoxUnauthorizedError,
        (401,),
        hint="Check token id and secret; `pveum user token list USER` shows tokens and their expiry.",
    ),
    _Meaning(
        ProxmoxPermissionError,
        (403,),
        hint="Grant the token the named privilege: `pveum acl modify PATH --tokens TOKEN --roles ROLE`. "
        "A privilege-separated token needs its own entry.",
    ),
    _Meaning(ProxmoxUnavailableError, (502, 503, 504, 595, 596, 597, 598, 599), hint=_UNREACHABLE),
    _Meaning(ProxmoxNotFoundError, (400,), r"no such (task|alias|ipset)|snapshot '.*' does not exist"),
    _Meaning(ProxmoxRequestError, (501,), hint="This version of Proxmox VE does not know the call."),
    _Meaning(
        VmidTakenError,
        (500,),
        r"unable to create VM \d+: config file already exists|VM \d+ already exists on node|CT \d+ already exists",
        "Choose another VMID.",
    ),
    _Meaning(
        ProxmoxLockedError,
        (500,),
        r"is locked \(|can't lock file .* got timeout|got lock (request )?timeout|cfs-lock .* (error|timeout)",
        "Another operation on this VM is running; the node's task list shows which. Try again when it has ended.",
    ),
    _Meaning(
        ProxmoxVmNotFoundError,
        (500,),
        r"Configuration file '[^']*' does not exist|unable to find configuration file for VM|could not find target VM",
    ),
    _Meaning(
        ShutdownTimeoutError,
        (500,),
        r"^VM quit/powerdown failed",
        "The guest did not react. Try again with more time, or with force, which pulls the plug.",
    ),
    _Meaning(
        ProxmoxConfigChangedError,
        (500,),
        r"checksum mismatch \(file change|detected modified configuration",
        "Someone changed the configuration at the same time. Try again.",
    ),
    _Meaning(
        ProxmoxNotFoundError,
        (500,),
        r"hostname lookup '.*' failed",
        "The cluster has no node of this name; `pvesh get /nodes` lists them.",
    ),
    _Meaning(
        ProxmoxNotFoundError,
        (500,),
        r"(storage|pool|snapshot|volume|disk|bridge|user|group|role) '?[^']*'? does not exist|no such ",
    ),
)


def from_answer(error: ResourceException, what: str) -> ProxmoxRequestError:
    """The typed error for an answer with status 400 or above. `what` is e.g. ``GET /version``."""
    details: Mapping[str, Any] = error.errors if isinstance(error.errors, dict) else {}
    parameters = _parameters(details.get("errors"))
    reason = str(error.content or "").strip()
    said = str(details.get("message") or reason).strip() or reason
    if parameters:
        said = f"{said.rstrip('.')}: " + "; ".join(f"{name}: {text}" for name, text in parameters.items())
    status = int(error.status_code)
    message = f"{what}: {status} {said}".strip()
    meaning = _meaning(status, f"{reason}\n{said}")
    if meaning.error is VmidTakenError:
        return VmidTakenError(message, status=status, hint=meaning.hint)
    return meaning.error(message, status=status, parameters=parameters, hint=meaning.hint)


def from_task(upid: str, exit_status: str, log: str) -> ProxmoxRequestError:
    """The typed error for a task that ended with another exit status than OK."""
    meaning = _meaning(500, exit_status)
    if meaning.error is VmidTakenError:
        return VmidTakenError(exit_status, hint=meaning.hint)
    if issubclass(meaning.error, ProxmoxLockedError):
        return meaning.error(exit_status, hint=meaning.hint)
    before = [line for line in log.splitlines() if exit_status not in line]
    message = f"{exit_status}\n{chr(10).join(before)}".strip()
    failed = meaning.error if issubclass(meaning.error, ProxmoxTaskFailedError) else ProxmoxTaskFailedError
    return failed(message, upid=upid, hint=meaning.hint)


def from_transport(error: Exception, what: str, host: str) -> ProxmoxRequestError:
    """The typed error for a request that got no answer, or none that PVE would give."""
    causes = list(_causes(error))
    if any(_is_certificate_problem(cause) for cause in causes):
        return ProxmoxCertificateError(
            f"The certificate of {host} is not the expected one: {_innermost(causes)}",
            hint="Compare with `pvenode cert info` on the node, then update the fingerprint or CA certificate.",
        )
    if isinstance(error, requests.TooManyRedirects | ValueError) and not isinstance(
        error, requests.ConnectionError | requests.Timeout
    ):
        return ProxmoxRequestError(
            f"{what}: what answers at {host} is not Proxmox VE.", hint="Check host and port of the node."
        )
    return ProxmoxUnavailableError(f"{what}: no answer from {host}: {_innermost(causes)}", hint=_UNREACHABLE)


def was_not_sent(error: Exception) -> bool:
    """Whether the connection was refused, so that the request cannot have had an effect."""
    return any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error))


def _meaning(status: int, text: str) -> _Meaning:
    return next(
        (row for row in _TABLE if row.fits(status, text)), _Meaning(ProxmoxRequestError, hint=_UNKNOWN)
    )


def _parameters(errors: object) -> dict[str, str]:
    if not isinstance(errors, Mapping):
        return {}
    return {str(name): " ".join(str(text).split()) for name, text in errors.items()}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that led to it; urllib3 hides causes in `reason` and in arguments."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__]
        waiting += [
            item
            for item in (*current.args, getattr(current, "reason", None))
            if isinstance(item, BaseException)
        ]


def _is_certificate_problem(cause: BaseException) -> bool:
    if isinstance(cause, ssl.SSLCertVerificationError):  # chain, dates, host name
        return True
    return isinstance(cause, urllib3.exceptions.SSLError) and "Fingerprint" in str(cause)


def _innermost(causes: list[BaseException]) -> str:
    """The last sentence that says something, without urllib3's object addresses."""
    for cause in reversed(causes):
        text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        if text and " object at 0x" not in text:
            return text.strip().rstrip(".") + "."
    return f"{type(causes[0]).__name__}."
