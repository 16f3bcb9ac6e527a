"""The HTTP client of the remote commands: one service, one token.

Reads are repeated shortly when the connection fails. A POST carries an Idempotency-Key and is sent once more
when its connection is lost: the service then answers what it answered the first time. A PATCH, PUT or DELETE is sent once
more only when no connection was made: when the first one arrived, the second would be refused because of the
first one's job.
"""

import ipaddress
import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from jotunheim.cli.errors import CommandError, ExitCode, Problem, option_of
from jotunheim.cli.output import Document

DEFAULT_URL = "http://127.0.0.1:8080"
API = "/api/v1/admin"
CONNECT_SECONDS = 5.0
# Testing a node waits for that node's own time-outs.
READ_SECONDS = 90.0
# The service sends a ping every 15 s; a stream that is silent for longer is broken.
STREAM_SILENCE_SECONDS = 35.0
PER_PAGE = 200
_READ_PAUSES = (0.2, 0.5, 1.0)
_WRITE_PAUSES = (0.5,)
_SENT_ONCE = ("PATCH", "PUT", "DELETE")
_HINTS = {
    "unauthorized": "Set JOTUNHEIM_TOKEN to a valid token.",
    "forbidden": "Use a token with the scope that the message names.",
    "internal": "Look for the request id in the service's log.",
}


class UnreachableError(CommandError):
    """The service does not answer."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, code="service_unreachable", exit_code=ExitCode.UNREACHABLE, hint=hint)


class Api:
    """The admin API of one service. Methods raise CommandError; paths begin below `/api/v1/admin`.

    Args:
        url: where the service is, without a path.
        token: an administrator's token.
        ca_file: certificates (PEM) to trust; None: those of the system.
    """

    def __init__(self, url: str, token: str, ca_file: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._ca_file = ca_file
        parsed = _parse_url(self._url)
        if not token.isascii() or not token.isprintable():
            raise _misconfigured("JOTUNHEIM_TOKEN holds characters that no token has.", "Copy it again.")
        self._http = httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            verify=_tls(ca_file) if parsed.scheme == "https" else False,  # without TLS nothing is verified
            # A proxy of the environment cannot reach our loopback.
            trust_env=not _is_loopback(parsed.host),
        )

    @classmethod
    def from_environment(cls) -> Self:
        """The service that `JOTUNHEIM_URL`, `JOTUNHEIM_TOKEN` and `JOTUNHEIM_CA_FILE` name."""
        token = os.environ.get("JOTUNHEIM_TOKEN", "").strip()
        if not token:
            raise _misconfigured(
                "JOTUNHEIM_TOKEN is not set.", "export JOTUNHEIM_TOKEN=jtn_…; `jotunheim init` prints one."
            )
        return cls(
            os.environ.get("JOTUNHEIM_URL") or DEFAULT_URL, token, os.environ.get("JOTUNHEIM_CA_FILE") or None
        )

    def again(self) -> "Api":
        """Another client of the same service, with connections of its own."""
        return Api(self._url, self._token, self._ca_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Document:
        """Read one document."""
        params = {name: value for name, value in query.items() if value is not None}
        return self._send(self._http.build_request("GET", API + path, params=params), _READ_PAUSES, {})

    def versioned(self, path: str) -> tuple[Document, str | None]:
        """Read one document, and its version for a change that must not meet another one."""
        response = self._exchange(self._http.build_request("GET", API + path), _READ_PAUSES, {})
        return self._document(response), response.headers.get("etag")

    def file(self, path: str, media_type: str) -> bytes:
        """Read a file of this media type."""
        response = self._exchange(self._http.build_request("GET", API + path), _READ_PAUSES, {})
        if response.headers.get("content-type") != media_type:
            raise self._not_the_api(response)
        return response.content

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        options: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Document:
        """Ask for something.

        Args:
            options: the command's option for each field of the body, for messages about bad fields.
            query: whether only to ask what would change, or which preview to apply.
        """
        key = {"Idempotency-Key": str(uuid.uuid4())}
        return self._write("POST", path, body, options, query=query, headers=key)

    def patch(
        self,
        path: str,
        body: Mapping[str, Any],
        options: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Document:
        """Change some fields of something; arguments as of `post`."""
        return self._write("PATCH", path, body, options, query=query)

    def put(
        self,
        path: str,
        body: Mapping[str, Any],
        options: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        version: str | None = None,
    ) -> Document:
        """Replace something; arguments as of `post`.

        Args:
            version: what `versioned` told; refused when it has another one.
        """
        headers = {"If-Match": version} if version else None
        return self._write("PUT", path, body, options, query=query, headers=headers)

    def delete(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        options: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Document:
        """Ask for an end; arguments as of `post`."""
        return self._write("DELETE", path, body, options, query=query)

    def all(self, path: str, key: str, **query: str | int | None) -> list[Document]:
        """All entries of a list, page by page."""
        found: list[Document] = []
        page: int | None = 1
        while page is not None:
            answer = self.get(path, page=page, per_page=PER_PAGE, **query)
            found += answer[key]
            page = answer["meta"]["pagination"]["next_page"]
        return found

    def events(self, job_id: str, after: int) -> Iterator[Document]:
        """A job's events behind a cursor, live, until the job is over or the connection is cut.

        Raises:
            UnreachableError: the connection failed, or nothing was heard for too long.
            CommandError: the service refused.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
        timeout = httpx.Timeout(STREAM_SILENCE_SECONDS, connect=CONNECT_SECONDS)
        try:
            with self._http.stream(
                "GET", f"{API}/jobs/{job_id}/events", headers=headers, timeout=timeout
            ) as response:
                if response.is_error:
                    response.read()
                    raise self._refusal(response, {})
                if response.headers.get("content-type", "").startswith("text/event-stream"):
                    yield from _parse_events(response.iter_lines())
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        options: Mapping[str, str] | None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        request = self._http.build_request(
            method, API + path, json=body or {}, headers=headers, params=dict(query) if query else None
        )
        return self._send(request, _WRITE_PAUSES, options or {})

    def _send(self, request: httpx.Request, pauses: Sequence[float], options: Mapping[str, str]) -> Document:
        return self._document(self._exchange(request, pauses, options))

    def _document(self, response: httpx.Response) -> Document:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._not_the_api(response)
        return document

    def _exchange(
        self, request: httpx.Request, pauses: Sequence[float], options: Mapping[str, str]
    ) -> httpx.Response:
        for pause in (*pauses, None):
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                arrived = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if arrived and request.method in _SENT_ONCE:
                    raise self._lost(error) from None
                if pause is None or isinstance(error, httpx.UnsupportedProtocol) or _is_tls(error):
                    raise self._unreachable(error) from None
                time.sleep(pause)
            else:
                break
        if not response.is_success:
            raise self._refusal(response, options)
        return response

    def _refusal(self, response: httpx.Response, options: Mapping[str, str]) -> CommandError:
        try:
            error = response.json()["error"]
            code, message = str(error["code"]), str(error["message"])
            problems = [
                Problem(str(detail["field"]), str(detail["message"]), option_of(detail["field"], options))
                for detail in error.get("details", [])
            ]
        except (ValueError, KeyError, TypeError):
            return self._not_the_api(response)
        return CommandError(
            message,
            code=code,
            exit_code=ExitCode.UNREACHABLE if code == "node_unavailable" else ExitCode.FAILED,
            problems=problems,
            hint=_HINTS.get(code),
            request_id=error.get("request_id"),
        )

    def _not_the_api(self, response: httpx.Response) -> CommandError:
        return UnreachableError(
            f"{self._url} answered {response.status_code} {response.reason_phrase}, "
            "and not as Jotunheim's API does.",
            "Check JOTUNHEIM_URL, and the proxy before the service if there is one.",
        )

    def _lost(self, error: httpx.TransportError) -> UnreachableError:
        return UnreachableError(
            f"No answer from {self._url}: {error or type(error).__name__}. The request may have arrived.",
            "jotunheim job list shows whether there is a job for it; if not, ask again.",
        )

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        reason = str(error) or type(error).__name__
        if _is_tls(error):
            return UnreachableError(
                f"The certificate of {self._url} cannot be verified: {reason}.",
                "Set JOTUNHEIM_CA_FILE to the certificate authority of the service.",
            )
        return UnreachableError(
            f"No answer from {self._url}: {reason}.", "Check JOTUNHEIM_URL, and whether `jotunheim up` runs."
        )


def path_part(text: str) -> str:
    """An argument as one part of a path."""
    return quote(text, safe="")


def _parse_events(lines: Iterator[str]) -> Iterator[Document]:
    """Events of a stream. Each carries its cursor in its own document, so the `id` lines add nothing."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data = []


def _parse_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise _misconfigured(
            "JOTUNHEIM_URL is not a URL.", "export JOTUNHEIM_URL=https://jotunheim.example.com"
        )
    return parsed


def _tls(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _misconfigured(
            f"JOTUNHEIM_CA_FILE cannot be used: {error}.", "Give a file of certificates in PEM."
        ) from None


def _is_tls(error: httpx.TransportError) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _misconfigured(message: str, hint: str) -> CommandError:
    return CommandError(message, code="usage", exit_code=ExitCode.USAGE, hint=hint)
