"""Reads all servers from the HTTP API: pages beside each other, over a few connections, with as few requests as there can be.

With urllib3, since it compares a certificate's fingerprint before it sends anything.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError, SSLError
from urllib3.util import Retry, Timeout, Url, parse_url

PER_PAGE = 200
"""As many as the API gives at once."""
CONNECTIONS = 4
TRIES_OF_A_LIST = 4
"""Servers come and go while the pages of a list are read; then it is read again."""
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[?::1\]?")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PASSING = (502, 503, 504)
_RETRIES = Retry(
    connect=2,
    read=2,
    status=2,
    other=0,
    redirect=False,
    backoff_factor=0.3,
    status_forcelist=_PASSING,
    raise_on_status=False,
    respect_retry_after_header=False,
)


class OptionError(Exception):
    """What an option of the inventory is to blame for.

    Args:
        option: its name.
        message: a sentence without a secret.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")


@dataclass(frozen=True)
class Access:
    """Where the API is, who asks, and how the service is recognised.

    Attributes:
        url: `http(s)://HOST[:PORT][/PATH]`.
        ca_file: certificates (PEM) of the only authorities to trust; None: those of the system.
        fingerprint: SHA-256 of the one certificate to accept; chain, name and dates are then not looked at.
        timeout_seconds: until a connection stands, and between two pieces of an answer.
    """

    url: str
    token: str = field(repr=False)
    ca_file: str | None = None
    fingerprint: str | None = None
    timeout_seconds: float = 30


class Api:
    """The lists of one service, for one token. Methods raise OptionError."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._url = _parsed(access.url)
        if not re.fullmatch(r"[\x21-\x7e]+", access.token):
            raise OptionError("token", "holds characters that no token has. Copy it again.")
        self._pool = self._connections()

    @property
    def is_readable_by_others(self) -> bool:
        """Whether the token goes over a network without encryption."""
        return self._url.scheme == "http" and not _LOOPBACK.fullmatch(self._url.host or "")

    def servers(self, module: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """All servers that the token shows and the filters let through, as the API shows them.

        Args:
            module: `admin`, `client`, or `auto`: the first one that the token's user may ask.
            filters: texts by name, for the API.
        """
        if module != "auto":
            return self._list(f"/{module}/servers", filters)
        try:
            return self._list("/admin/servers", filters)
        except _ForbiddenError:
            return self._list("/client/servers", filters)

    def _list(self, path: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        for _ in range(TRIES_OF_A_LIST):
            first = self._page(path, filters, 1)
            pages = math.ceil(first.total / PER_PAGE)
            rest = range(2, pages + 1)
            with ThreadPoolExecutor(CONNECTIONS) as threads:
                others = list(threads.map(lambda number: self._page(path, filters, number), rest))
            found = {server["id"]: server for page in (first, *others) for server in page.servers}
            if all(page.total == first.total for page in others) and len(found) == first.total:
                return list(found.values())
        raise OptionError("url", "servers came and went each time that the list was read. Try again.")

    def _page(self, path: str, filters: Mapping[str, str], number: int) -> _Page:
        # The oldest come first: one that is made meanwhile moves none of the others to another page.
        query = urlencode({**filters, "page": number, "per_page": PER_PAGE, "sort": "created_at"})
        document = self._get(f"/api/v1{path}?{query}")
        try:
            servers, total = document["servers"], int(document["meta"]["pagination"]["total_entries"])
            are_servers = all(_ID.fullmatch(one["id"]) for one in servers)
        except (KeyError, TypeError, ValueError):
            are_servers = False
        if not are_servers:
            raise self._not_the_api(200)
        return _Page(servers, total)

    def _get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._access.token}", "Accept": "application/json"}
        target = (self._url.path or "").rstrip("/") + path
        try:
            answer = self._pool(target, headers)
        except HTTPError as error:
            raise self._unreachable(error) from None
        try:
            document = json.loads(answer.data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._not_the_api(answer.status)
        if answer.status != 200:
            raise self._refused(answer, document)
        return document

    def _connections(self) -> Callable[[str, Mapping[str, str]], urllib3.BaseHTTPResponse]:
        """What sends a GET, over connections that are kept."""
        options: dict[str, Any] = {
            "maxsize": CONNECTIONS,
            "block": True,
            "timeout": Timeout(connect=self._access.timeout_seconds, read=self._access.timeout_seconds),
        }
        if self._url.scheme == "https":
            options |= self._tls()
        host = self._url.host or ""
        proxy = None
        if not _LOOPBACK.fullmatch(host) and not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(self._url.scheme or "")
        manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        base = Url(scheme=self._url.scheme, host=host, port=self._url.port).url

        def get(target: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
            return manager.request("GET", base + target, headers=headers, retries=_RETRIES, redirect=False)

        return get

    def _tls(self) -> dict[str, Any]:
        if self._access.fingerprint is not None:
            digits = self._access.fingerprint.replace(":", "").strip().lower()
            if not re.fullmatch(r"[0-9a-f]{64}", digits):
                raise OptionError("fingerprint", "must be a SHA-256 digest: 64 hexadecimal digits.")
            # urllib3 compares the digest before anything is sent; no authority has to vouch for it as well.
            return {"cert_reqs": "CERT_NONE", "assert_fingerprint": digits}
        try:
            return {"ssl_context": ssl.create_default_context(cafile=self._access.ca_file)}
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not PEM"
            raise OptionError(
                "ca_file", f"{self._access.ca_file} cannot be used: {reason}. Give certificates in PEM."
            ) from None

    def _unreachable(self, error: HTTPError) -> OptionError:
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(reason, SSLError):
            option = "ca_file" if self._access.fingerprint is None else "fingerprint"
            return OptionError(
                option,
                f"the certificate of {self._access.url} is not the one to trust: {reason}. Set ca_file "
                "(JOTUNHEIM_CA_FILE) to its authority, or fingerprint (JOTUNHEIM_FINGERPRINT) to its SHA-256.",
            )
        return OptionError("url", f"no answer from {self._access.url} (JOTUNHEIM_URL): {reason}.")

    def _refused(self, answer: urllib3.BaseHTTPResponse, document: Mapping[str, Any]) -> OptionError:
        error = document.get("error")
        if not isinstance(error, dict) or "message" not in error:
            return self._not_the_api(answer.status)
        message = str(error["message"])
        match answer.status:
            case 401:
                return OptionError("token", f"{self._access.url} does not take it: {message}")
            case 403:
                return _ForbiddenError("token", f"{self._access.url} refuses: {message}")
            case 422:
                details = [each for each in error.get("details", []) if isinstance(each, dict)]
                told = "; ".join(f"{each.get('field')}: {each.get('message')}" for each in details)
                return OptionError("filters", told or message)
            case 429:
                seconds = answer.headers.get("Retry-After", "some")
                return OptionError(
                    "url",
                    f"{self._access.url} is asked too often; it answers again in {seconds} s. See cache.",
                )
            case status:
                return OptionError("url", f"{self._access.url} answered {status}: {message}")

    def _not_the_api(self, status: int) -> OptionError:
        return OptionError(
            "url", f"{self._access.url} answered {status}, and not as Jotunheim's API does (JOTUNHEIM_URL)."
        )


class _ForbiddenError(OptionError):
    """Role or scope of the token do not allow the request."""


@dataclass(frozen=True)
class _Page:
    servers: list[dict[str, Any]]
    total: int


def _parsed(url: str) -> Url:
    try:
        parsed = parse_url(url)
    except LocationParseError:
        parsed = Url()
    # What stands there is not repeated: it may be a password.
    if parsed.auth or parsed.query or parsed.fragment:
        raise OptionError("url", "must have no user, password, query or fragment.")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise OptionError("url", "must be a URL, for example https://jotunheim.example.com (JOTUNHEIM_URL).")
    return parsed
