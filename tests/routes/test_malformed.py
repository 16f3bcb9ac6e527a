"""Whatever is sent, the answer is an error of the documented shape, or a bare status: never a trace, a version or a hang."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from jotunheim.routes.headers import SECURITY
from tests.support import plain_http
from tests.support.raw import exchange
from tests.support.service import Service

INTERNALS = re.compile(rb"Traceback|uvicorn|starlette|python|h11|site-packages|File \"", re.IGNORECASE)
GET = b"GET /api/v1/admin/locations HTTP/1.1\r\n"


def _assert_sane(said: bytes) -> int:
    """The first answer: secure headers, no internals; returns its status."""
    head, _, body = said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    assert re.fullmatch(r"HTTP/1\.1 [2-5]\d\d [A-Za-z -]*", status_line), said
    headers = httpx.Headers([tuple(line.split(": ", 1)) for line in lines])
    assert "server" not in headers
    assert headers.items() >= {name.lower(): value for name, value in SECURITY.items()}.items()
    assert not INTERNALS.search(said), said
    status = int(status_line.split(" ")[1])
    body = body[: int(headers["content-length"])]
    if status >= 400 and body:
        error = json.loads(body)["error"]
        assert set(error) == {"code", "message", "details", "request_id"}
    assert status != 500, said
    return status


MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "nothing but lines": b"\r\n\r\n\r\n",
    "words": b"HELO jotunheim\r\n\r\n",
    "no host": GET + b"\r\n",
    "two hosts": GET + b"Host: a\r\nHost: b\r\n\r\n",
    "null in a header": GET + b"Host: x\r\nX-Request-ID: a\x00b\r\n\r\n",
    "null in a path": b"GET /api/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in a path": b"GET /api/ v1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in a path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": GET + b"Host: x\r\nnonsense\r\n\r\n",
    "a space before the colon": GET + b"Host : x\r\n\r\n",
    "a folded header": GET + b"Host: x\r\nX: a\r\n  b\r\nConnection: close\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: x\r\nConnection: close\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a header that is too long": GET + b"Host: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "too many headers": GET + b"Host: x\r\n" + b"X: a\r\n" * 50_000 + b"\r\n",
    "a path that is too long": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunks in HTTP/1.0": b"GET /healthz HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length of letters": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n",
    "an unknown encoding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a bad chunk": b"POST /api/v1/admin/locations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk without end": b"POST /api/v1/admin/locations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 70_000,
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=list(MALFORMED))
def test_what_is_no_http_gets_a_bare_status(service: Service, request_: bytes) -> None:
    said = exchange(service, request_)
    if said or request_.strip():  # a client that is cut off while it sends may miss the answer
        assert said == b"" or _assert_sane(said) in (400, 401, 404, 408)
    assert service.http.get("/admin/locations").status_code == 200


HEADERS = {
    "a path as host": "Host: x/../../?a=b",
    "another scheme as host": "Host: http://evil.example",
    "an empty host": "Host:",
    "a host with a user": "Host: admin:secret@x:99999999",
    "two types": "Host: x\r\nContent-Type: application/json\r\nContent-Type: text/plain",
    "two request ids": "Host: x\r\nX-Request-ID: a\r\nX-Request-ID: b",
    "bytes": "Host: x\r\nX-Request-ID: \xff\xfe",
    "an expectation": "Host: x\r\nExpect: 100-continue",
    "a websocket": "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP/2": "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "another method": "Host: x\r\nX-HTTP-Method-Override: DELETE",
    "another path": "Host: x\r\nX-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz",
}


@pytest.mark.parametrize("lines", HEADERS.values(), ids=list(HEADERS))
def test_odd_headers_change_nothing(service: Service, lines: str) -> None:
    request = f"GET /api/v1/admin/locations/999 HTTP/1.1\r\n{lines}\r\nConnection: close\r\n"
    request += f"Authorization: Bearer {service.token}\r\n\r\n"
    said = exchange(service, request.encode("latin-1"))
    assert _assert_sane(said) == 404
    assert b"evil.example" not in said


def test_two_authorizations_are_no_more_than_the_first(service: Service) -> None:
    lines = [b"Authorization: Bearer x", b"Authorization: Bearer " + service.token.encode()]
    for first, second in (lines, lines[::-1]):
        said = exchange(
            service, GET + b"Host: x\r\nConnection: close\r\n" + first + b"\r\n" + second + b"\r\n\r\n"
        )
        assert _assert_sane(said) == (401 if first == lines[0] else 200)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/admin/%00",
        "/api/v1/admin/locations%00",
        "/api/v1/admin/locations/1%0d%0aX-Injected:%20yes",
        "/api/v1/../../../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/..%2f..%2fetc%2fpasswd",
        "/api/v1/..%5c..%5cwindows",
        "/api/v1/%252e%252e/etc/passwd",
        "/api/v1/admin/locations/%c0%ae%c0%ae",
        "//evil.example/api/v1/admin/locations",
        "/api/v1//admin/locations",
        "/api/v1/admin/locations/",
        "/api/v1/admin/locations;x=1",
        "/API/V1/ADMIN/LOCATIONS",
        "/api/v1/admin/%f0%9f%98%80",
        "/" + "a" * 30_000,
        "http://evil.example/api/v1/admin/nowhere",
        "*",
    ],
    ids=lambda path: path[:40],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NONSENSE", "get"])
def test_odd_paths_and_methods_lead_nowhere(service: Service, method: str, path: str) -> None:
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {service.token}\r\n\r\n"
    said = exchange(service, request.encode())
    assert _assert_sane(said) in (400, 404, 405)
    assert b"X-Injected" not in said.partition(b"\r\n\r\n")[0]
    assert len(said) < 3000


def test_every_answer_has_secure_headers(service: Service) -> None:
    origin = str(service.http.base_url).replace("/api/v1/", "")
    answers = {
        url: service.http.get(origin + url)
        for url in (
            "/healthz",
            "/readyz",
            "/api/v1/docs",
            "/api/v1/openapi.json",
            "/",
            "/api/v1/admin/locations",
        )
    }
    answers["refused"] = plain_http.get(origin + "/api/v1/admin/locations")
    answers["bad"] = service.http.post("/admin/locations", content=b"{")
    answers["head"] = service.http.head("/admin/locations")
    answers["options"] = service.http.options("/admin/locations", headers={"Origin": "https://evil.example"})
    for what, answer in answers.items():
        for name, value in SECURITY.items():
            found = answer.headers[name]
            assert found.startswith(value) if name == "Content-Security-Policy" else found == value, (
                what,
                name,
            )
        assert "server" not in answer.headers, what
        assert "access-control-allow-origin" not in answer.headers, what
        assert "strict-transport-security" not in answer.headers, what
    assert "frame-ancestors 'none'" in answers["/api/v1/docs"].headers["content-security-policy"]


def test_a_stream_has_secure_headers(service: Service) -> None:
    job = service.create_server("secure-stream", start=False)["job"]["id"]
    with service.http.stream(
        "GET", f"/admin/jobs/{job}/events", headers={"Accept": "text/event-stream"}
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for name, value in SECURITY.items():
            assert answer.headers[name] == value, name
    service.finished(job)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a panel of another origin, and HTTPS for good."""
    settings = {
        "JOTUNHEIM_CORS_ORIGINS": "https://panel.example.com, http://localhost:3000",
        "JOTUNHEIM_HSTS_SECONDS": "31536000",
    }
    with Service.start(tmp_path_factory.mktemp("panel"), worker=False, settings=settings) as started:
        yield started


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://panel.example.com", True),
        ("http://localhost:3000", True),
        ("http://panel.example.com", False),
        ("https://panel.example.com.evil.example", False),
        ("https://evil.example", False),
        ("null", False),
    ],
)
def test_pages_of_named_origins_may_ask(panel: Service, origin: str, is_allowed: bool) -> None:
    asked = {"Origin": origin}
    preflight = panel.http.options(
        "/admin/locations",
        headers={
            **asked,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        },
    )
    answer = panel.http.get("/admin/locations", headers=asked)
    refused = panel.http.get("/admin/locations/7", headers=asked)
    for each in (preflight, answer, refused):
        assert each.headers.get("access-control-allow-origin") == (origin if is_allowed else None)
        assert "access-control-allow-credentials" not in each.headers
        assert each.headers["strict-transport-security"] == "max-age=31536000"
    assert preflight.is_success == is_allowed
    if is_allowed:
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
