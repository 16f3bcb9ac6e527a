"""Makes one request to a receiver, and says what came of it. Nothing here knows the store."""

import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

import httpcore

from jotunheim import __version__
from jotunheim.data.webhook.kinds import AttemptError
from jotunheim.jobs.webhook import signing
from jotunheim.jobs.webhook.connecting import CheckedBackend, Deadline, NotPermittedError
from jotunheim.services.audit.masking import one_line
from jotunheim.services.webhooks.outgoing import Outcome, Parcel
from jotunheim.settings import Settings

MAX_ANSWER = 16 * 1024
"""Bytes of an answer's body that are read, and thrown away."""
MAX_DETAIL = 255


class Sender:
    """Sends parcels, from several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, parcel: Parcel) -> Outcome:
        """Make one request; raises nothing."""
        began = time.monotonic()
        try:
            status_code, retry_after = self._post(parcel)
        except Exception as error:  # noqa: BLE001 - a receiver can do whatever it likes
            return _failed(error, began)
        duration_ms = _since(began)
        if 200 <= status_code < 300:
            return Outcome(status_code, duration_ms=duration_ms)
        said = f"It answered {status_code}."
        return Outcome(status_code, AttemptError.STATUS, said, duration_ms, retry_after)

    def _post(self, parcel: Parcel) -> tuple[int, float | None]:
        """Status and, in seconds, `Retry-After` of the answer. Redirects are not followed; no proxy is asked."""
        receiver, deadline = parcel.receiver, Deadline(self._settings.webhook_timeout_seconds)
        backend = CheckedBackend(receiver, parcel.networks, deadline)
        url = httpcore.URL(
            scheme=receiver.scheme.encode(),
            host=receiver.host.encode(),
            port=receiver.port,
            target=receiver.target.encode(),
        )
        headers: dict[bytes | str, bytes | str] = {
            "Host": receiver.authority,
            "Content-Type": "application/json",
            "Content-Length": str(len(parcel.body)),
            "User-Agent": f"jotunheim/{__version__}",
            "Connection": "close",
            **signing.headers(parcel.event_id, parcel.at, parcel.body, parcel.keys),
        }
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream("POST", url, headers=headers, content=parcel.body) as answer,
        ):
            with suppress(httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
                _read_some(answer)  # the status counts, however the rest comes
            return answer.status, _retry_after(answer)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Verifies certificates and names. Made when it is first needed: reading all authorities takes a while."""
        context = httpcore.default_ssl_context()
        if self._settings.webhook_ca_file is not None:
            context.load_verify_locations(self._settings.webhook_ca_file)
        return context


def _read_some(answer: httpcore.Response) -> None:
    """Take some of a body, so that the receiver can finish its answer."""
    read = 0
    for chunk in answer.iter_stream():
        read += len(chunk)
        if read >= MAX_ANSWER:
            return


def _failed(error: Exception, began: float) -> Outcome:
    match error:
        case NotPermittedError():
            kind = AttemptError.UNREACHABLE
        case httpcore.ConnectError(args=(ssl.SSLError(), *_)):
            kind = AttemptError.TLS
        case httpcore.ConnectError() | httpcore.ConnectTimeout():
            kind = AttemptError.UNREACHABLE
        case httpcore.TimeoutException():
            kind = AttemptError.TIMEOUT
        case httpcore.NetworkError() | httpcore.ProtocolError():
            kind = AttemptError.PROTOCOL
        case _:
            kind = AttemptError.SETUP
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Outcome(error=kind, detail=one_line(detail, MAX_DETAIL), duration_ms=_since(began))


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _retry_after(answer: httpcore.Response) -> float | None:
    """What the header `Retry-After` asks for, in seconds; None: nothing that is understood."""
    value = next((value for name, value in answer.headers if name.lower() == b"retry-after"), b"")
    text = value.decode("ascii", "replace").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever a receiver makes up
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
