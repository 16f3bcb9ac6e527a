"""What people send who mean harm: in every field, query and header of every route, and beneath HTTP."""

import json
import random
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote_from_bytes

import hypothesis
import pytest
import requests
from hypothesis import HealthCheck, Phase, given
from schemathesis.generation import GenerationMode

from jotunheim.routes import openapi
from jotunheim.routes.operation import Operation
from tests.fuzz.test_openapi import OPERATIONS, assert_answered_well, described, each_operation
from tests.support.world import OWNER, World

ON_POSTGRESQL = True
"""Which refuses more than SQLite does, such as NUL."""
TEXTS = [
    "{{ lookup('pipe','id') }}",
    "{% for x in range(10**9) %}{% endfor %}",
    "$(id)`id`;id|id&&id",
    "' OR 1=1; DROP TABLE server; --",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "x" * 900_000,
    "\r\nX-Injected: 1\r\n\r\n",
    "../../../../etc/passwd",
    "%s%n%x",
    "\u202e\u0000\ufeff\U0010ffff",
    "١٢٣",
    "",
]
VALUES: list[Any] = [
    *TEXTS,
    10**400,
    -(2**63) - 1,
    2**63,
    2**31,
    1e308,
    -0.0,
    0.1,
    True,
    None,
    [],
    {},
    [[]],
    {"$ref": "#"},
]
BODIES: dict[str, bytes] = {
    "bad UTF-8": b'{"name": "\xff\xfe\xc0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "a lone surrogate": b'{"name": "\\ud800", "\\udfff": 1}',
    "NUL": b'{"name": "\\u0000", "a\\u0000b": 1}\0',
    "keys twice": b'{"name": "a", "name": "b", "name": {"name": 1}}',
    "no numbers": b'{"name": NaN, "cpu": Infinity, "vmid": -Infinity}',
    "a huge number": b'{"vmid": 1' + b"0" * 5000 + b', "cpu": 1e999999}',
    "deep lists": b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "an open end": b'{"name": "x',
    "many keys": json.dumps({f"k{number}": number for number in range(20_000)}).encode(),
    "a list": b"[{}]",
    "a text": b'"x"',
    "null": b"null",
    "nothing but blanks": b" \n\t ",
    "a long text": b'{"name": "' + b"x" * 1_000_000 + b'"}',
}
TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "é",
    "",
]
QUERIES = [
    "%ff",
    "%",
    "&&&==&",
    "page=1&page=2",
    "%00=%00",
    "[]=1",
    "a[b]=1",
    "page=%D9%A1",
    "plan=x&check=1",
]
HEADERS: dict[str, list[bytes]] = {
    "Idempotency-Key": [b"", b" ", b"\xff\xfe", b"x" * 300, b"{{ 7*7 }}", b"\xe2\x80\xae", b"a\tb"],
    "If-Match": [b"", b"*", b'"', b"\xff", b'W/"1", "2"', b"x" * 9000],
    "Last-Event-ID": [b"-1", b"NaN", b"9" * 5000, b"\xff", b"1e3", b"\xd9\xa1"],
    "X-Request-ID": [b"\xff", b"x" * 9000, b"../../x", b"a b"],
    "Accept": [b"text/event-stream", b"\xff", b"x" * 9000, b"*/*;q=nan"],
    "Authorization": [
        b"Bearer",
        b"Bearer \xff",
        b"Bearer jtn_" + b"x" * 9000,
        b"Basic ::",
        b"\xff",
        b"Bearer  a b c",
    ],
    "Content-Type": [b"application/json; charset=utf-7", b"\xff", b"application/json;", b";;;", b"x" * 9000],
    "Cookie": [b"session=\xff", b"=;=;=", b"x" * 9000],
    "X-Forwarded-For": [b"\xff", b"127.0.0.1, x", b"x" * 9000],
    "Host": [b"", b"\xff", b"a b", b"evil.example.com:99999", b"[::1"],
    "Content-Encoding": [b"gzip", b"\xff"],
    "Range": [b"bytes=0-0", b"bytes=9-1"],
}


@pytest.fixture(scope="module")
def http(world: World) -> Iterator[requests.Session]:
    """An operator's connection; the answers to what is sent are looked at."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {world.service.token}"
        yield session


def path_to(world: World, operation: Operation, text: str | None = None) -> str:
    """The path of an operation about something that is there; or with this in each place."""
    path = operation.path
    if text is None and "_id:" in path:
        return world.service.url + world.path(operation, OWNER)[0]
    if text is None:
        path = re.sub(r"{id:\w+}", lambda _: world.id_of_new(path.split("/")[2], OWNER), path)
        text = "snap"
    raw = escaped(text)
    return world.service.url + re.sub(r"{\w+:\w+}", lambda _: raw, path)


def escaped(text: str) -> str:
    """A text within a URL, lone surrogates as if they were characters."""
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


def places(part: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document there are values."""
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from places(value, (*above, key))


def with_value(part: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A document with another value in one place."""
    if not place:
        return value
    copy: Any = dict(part) if isinstance(part, dict) else list(part)
    copy[place[0]] = with_value(part[place[0]], place[1:], value)
    return copy


def examples_of(operation: Operation, count: int) -> list[Any]:
    """Some right bodies of an operation, the largest of a few; always the same."""
    found: list[Any] = []

    @hypothesis.settings(
        max_examples=4 * count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(described(operation).as_strategy(generation_mode=GenerationMode.POSITIVE))
    def keep(case: Any) -> None:
        if isinstance(case.body, dict):
            found.append(case.body)

    keep()
    return sorted(found, key=lambda body: len(list(places(body))))[-count:]


def encoded(document: Any) -> bytes:
    """JSON, with lone surrogates escaped."""
    return json.dumps(document).encode()


class Draw:
    """Some of what there is, other ones for each operation: all are sent to some of them."""

    def __init__(self, config: pytest.Config, operation: Operation) -> None:
        self._count = 2 * config.getoption("--fuzz-examples")
        self._random = random.Random(f"{config.getoption('--fuzz-seed')} {operation.method} {operation.path}")

    def some(self, there_are: Iterable[Any]) -> list[Any]:
        """A few of these."""
        known = list(there_are)
        return self._random.sample(known, min(len(known), self._count))


@pytest.fixture
def draw(pytestconfig: pytest.Config, operation: Operation) -> Draw:
    """What is sent to an operation."""
    return Draw(pytestconfig, operation)


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.body], ids=lambda one: f"{one.method} {one.path}"
)
def test_hostile_bodies_break_nothing(
    world: World, http: requests.Session, draw: Draw, operation: Operation
) -> None:
    url = path_to(world, operation)
    who = {"Authorization": f"Bearer {world.session(OWNER)}"} if operation.access.person else {}
    sent = draw.some(BODIES.values())
    for body in examples_of(operation, 1):
        for place in list(places(body))[:40]:
            sent += [encoded(with_value(body, place, value)) for value in draw.some(VALUES)]
    for body in sent:
        answer = http.request(
            operation.method, url, data=body, headers={**who, "Content-Type": "application/json"}
        )
        assert_answered_well(answer, "an operator", operation)
    for type_ in draw.some(TYPES):
        answer = http.request(
            operation.method, url, data=b"{}x", headers={**who, "Content-Type": type_.encode()}
        )
        assert_answered_well(answer, "an operator", operation)
        assert answer.status_code in (404, 422)


@each_operation
def test_hostile_queries_and_paths_break_nothing(
    world: World, http: requests.Session, draw: Draw, operation: Operation
) -> None:
    url = path_to(world, operation)
    queries = draw.some(QUERIES)
    for name in [*operation.query.model_fields, "nonsense"]:
        queries += [f"{name}={escaped(text[:9000])}" for text in draw.some(TEXTS)]
    for query in queries:
        assert_answered_well(http.request(operation.method, f"{url}?{query}"), "an operator", operation)
    for text in draw.some(TEXTS) if "{" in operation.path else ():
        answer = http.request(operation.method, path_to(world, operation, text[:9000]))
        assert_answered_well(answer, "an operator", operation)


@each_operation
def test_hostile_headers_break_nothing(world: World, draw: Draw, operation: Operation) -> None:
    path = path_to(world, operation).split("/", 3)[3]
    for name, value in draw.some((name, value) for name, values in HEADERS.items() for value in values):
        headers = {
            b"Host": b"127.0.0.1",
            b"Authorization": b"Bearer " + world.service.token.encode(),
            b"Connection": b"close",
        } | {name.encode(): value}
        lines = [f"{operation.method} /{path} HTTP/1.1".encode()]
        lines += [key + b": " + text for key, text in headers.items()]
        answered = raw_answer(world, b"\r\n".join(lines) + b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 (2|4|503)", answered), (name, value, answered[:500])
        assert not answered.startswith(b"HTTP/1.1 503") or b"node_unavailable" in answered


def raw_answer(world: World, sent: bytes, patience: float = 10) -> bytes:
    """All that comes back for these bytes until the connection ends, or nothing more comes for so many seconds."""
    found = b""
    with socket.create_connection(("127.0.0.1", world.service.port), timeout=patience) as connection:
        with suppress(ConnectionError, TimeoutError):  # who is refused in the middle is cut off
            connection.sendall(sent)
        with suppress(ConnectionError, TimeoutError):
            while part := connection.recv(65536):
                found += part
    return found


LOCATIONS = f"{openapi.PREFIX}/admin/locations".encode()
RAW: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "blanks": b"\r\n\r\n\r\n",
    "only NUL": b"\0" * 1000,
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET " + LOCATIONS + b"\r\n\r\n",
    "HTTP/9.9": b"GET " + LOCATIONS + b" HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET " + LOCATIONS + b" HTTP/1.1\r\n\r\n",
    "two hosts": b"GET " + LOCATIONS + b" HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "an absolute target": b"GET http://evil.example.com" + LOCATIONS + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without a slash": b"GET admin HTTP/1.1\r\nHost: x\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an odd method": b"G\xc3\x84T " + LOCATIONS + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method of its own": b"BREW " + LOCATIONS + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target that is no ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken escape": b"GET /api/v1/%zz%f HTTP/1.1\r\nHost: x\r\n\r\n",
    "an escaped NUL": b"GET /api/v1/admin/locations/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an escaped slash": b"GET /api/v1/admin%2flocations HTTP/1.1\r\nHost: x\r\n\r\n",
    "dots": b"GET /api/v1/client/../admin/locations HTTP/1.1\r\nHost: x\r\n\r\n",
    "two slashes": b"GET //api//v1//admin//locations HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET " + LOCATIONS + b"#x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long target": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "an endless chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx",
    "a body that stops": b"POST " + LOCATIONS + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "an upgrade": b"GET "
    + LOCATIONS
    + b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "expect": b"POST "
    + LOCATIONS
    + b" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
}


@pytest.mark.parametrize("what", RAW)
def test_bytes_that_are_hardly_http_break_nothing(world: World, what: str) -> None:
    answered = raw_answer(world, RAW[what], patience=0.2)
    for status in re.findall(rb"^HTTP/1\.1 (\d+)", answered, re.MULTILINE):
        assert status[:1] in (b"1", b"4"), answered[:500]
    assert b"Traceback" not in answered
    assert world.service.ask("GET", "/admin/locations", world.service.token).status_code == 200


def test_many_requests_on_one_connection_stay_apart(world: World) -> None:
    token = world.service.token.encode()
    first = b"GET " + LOCATIONS + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
    second = b"GET " + LOCATIONS + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answered = raw_answer(world, first + second)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answered) == [b"200", b"401"]


@pytest.mark.parametrize(
    "operation",
    [one for one in OPERATIONS if one.query.model_fields],
    ids=lambda one: f"{one.method} {one.path}",
)
def test_nul_is_refused_in_every_field_of_a_query(
    world: World, http: requests.Session, operation: Operation
) -> None:
    who = {"Authorization": f"Bearer {world.session(OWNER)}"} if operation.access.person else {}
    url = path_to(world, operation)
    for name in operation.query.model_fields:
        answer = http.request(operation.method, f"{url}?{name}=a%00", headers=who)
        assert answer.status_code == 422, (name, answer.text)
        assert name in [detail["field"] for detail in answer.json()["error"]["details"]]


@pytest.mark.parametrize("field", ["email", "password", "code"])
def test_nul_is_refused_in_a_login(world: World, field: str) -> None:
    body = {"email": "a@example.com", "password": "x", "code": "1", field: "a\0b"}
    answer = world.service.ask("POST", "/auth/login", None, body=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == [{"field": field, "message": "must not contain NUL"}]
