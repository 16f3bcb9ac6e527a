"""What no PVE client sends: the sandbox refuses it as PVE's HTTP server does, ignores nothing and lives on."""

import asyncio
import json
import socket
import ssl

import pytest

from tests.sandbox.requests import VM, Pve

MANY = 300
FORM = "application/x-www-form-urlencoded"


def tls(pve: Pve) -> ssl.SSLContext:
    """The client's side of TLS."""
    return ssl.create_default_context(cafile=pve.sandbox.ready["ca_pem_file"])


def raw(pve: Pve, sent: bytes, *, end: bool = False) -> tuple[int, str, bytes]:
    """Send bytes on a connection of their own. Returns status (0 for none), reason phrase and body."""
    with (
        socket.create_connection(("127.0.0.1", pve.sandbox.port), timeout=10) as plain,
        tls(pve).wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(sent)
        if end:
            return 0, "", b""
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (piece := _receive(connection)):
                return 0, "", answer
            answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(length[0].partition(b":")[2]) - len(body) if length else 0
        while missing > 0 and (piece := _receive(connection)):
            body, missing = body + piece, missing - len(piece)
    _, status, reason = (head.split(b"\r\n")[0].decode() + " ").split(" ", 2)
    return int(status), reason.strip(), body


def _receive(connection: ssl.SSLSocket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def request(
    pve: Pve, method: str, path: str, body: bytes = b"", kind: str | None = FORM, *more: str, length: int = -1
) -> bytes:
    """The bytes of a request with root's token."""
    ready = pve.sandbox.ready
    token = f"Authorization: PVEAPIToken={ready['token_id']}={ready['token_secret']}"
    lines = [f"{method} {path} HTTP/1.1", "Host: sandbox", token, *more]
    if body or length >= 0:
        lines += [f"Content-Length: {len(body) if length < 0 else length}"]
        lines += [f"Content-Type: {kind}"] if kind else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@pytest.fixture(autouse=True)
def lives_on(pve: Pve) -> None:
    """The sandbox answers, whatever the test before has done to it."""
    assert pve.ok("GET", "/version")["release"] == "8.4"


POOLS = "/api2/json/pools"


@pytest.mark.parametrize(
    ("method", "body", "kind", "more", "status", "reason"),
    [
        ("POST", b'{"poolid": ', "application/json", (), 501, "malformed JSON string"),
        ("POST", b'["poolid"]', "application/json", (), 501, "Not a HASH reference"),
        ("POST", b"[" * 100_000, "application/json", (), 501, "malformed JSON string"),
        ("POST", b'{"poolid": ' + b"9" * 5000 + b"}", "application/json", (), 501, "malformed JSON string"),
        ("POST", b"poolid=x", "text/plain", (), 506, "upload 'Content-Type 'text/plain' not implemented"),
        ("POST", b"--x\r\n", "multipart/form-data; boundary=x", (), 506, "upload 'Content-Type 'multipart"),
        ("POST", b"poolid=x" * 100_000, FORM, (), 501, "for data too large"),
        ("DELETE", b"poolid=x", FORM, (), 501, "Unexpected content for method 'DELETE'"),
        ("GET", b"poolid=x", FORM, (), 501, "Unexpected content for method 'GET'"),
        ("POST", b"", FORM, ("Transfer-Encoding: chunked",), 501, "chunked transfer encoding not supported"),
        ("PATCH", b"", FORM, (), 501, "method 'PATCH' not available"),
        ("POST", b"not gzip", FORM, ("Content-Encoding: gzip",), 400, ""),
    ],
)
def test_a_body_that_is_not_read_is_refused_with_an_empty_answer(
    pve: Pve, method: str, body: bytes, kind: str, more: tuple[str, ...], status: int, reason: str
) -> None:
    end = b"0\r\n\r\n" if more == ("Transfer-Encoding: chunked",) else b""
    got = raw(pve, request(pve, method, POOLS, body, kind, *more) + end)
    assert (got[0], got[1].startswith(reason), b"Traceback" in got[2]) == (status, True, False)
    assert pve.ok("GET", "/pools") == []


@pytest.mark.parametrize(
    ("body", "pool"),
    [
        (b"poolid=a%zzb", None),  # no percent-encoding: the sign stays, and is no character of a pool's name
        (b"poolid=%ff%fe", None),  # no UTF-8
        (b"poolid=a%00b", None),
        (b"poolid=a\x00b", None),
        (b"%70oolid=ab", "ab"),
        (b"poolid=ab;comment=x", "ab"),
        (b"poolid=ab=cd", "ab"),
        (b"&&;&poolid=ab&", "ab"),
        (b"=&=x&poolid=ab", None),  # a parameter without a name is unknown
        (b"poolid=ab&poolid=cd", None),
    ],
)
def test_odd_forms_are_read_as_pve_reads_them(pve: Pve, body: bytes, pool: str | None) -> None:
    status, _, answer = raw(pve, request(pve, "POST", POOLS, body))
    assert status == (200 if pool else status)
    assert status in (200, 400, 403)
    assert json.loads(answer)["data"] is None
    assert [found["poolid"] for found in pve.ok("GET", "/pools")] == ([pool] if pool else [])


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/nodes", 501, "no such file '/nodes'"),
        ("/api2/extjs/nodes", 501, "no such uri"),
        ("/api2/jsonnodes", 501, "no such uri"),
        ("/api2/json/nodes/%00", 500, "hostname lookup ' ' failed"),
        ("/api2/json/nodes/%ff%zz/qemu", 500, "hostname lookup"),
        ("/api2/json/nodes/pve1/qemu/9000/config%0d%0aX-Evil:%201", 501, "Method 'GET"),
        ("/api2/json/nodes/pve1/qemu/%F0%9F%92%A9/config", 403, "Permission check failed (, VM.Audit)"),
        ("/api2/json/" + "nodes/" * 1000, 501, "Method 'GET"),
        ("/api2/json/nodes?" + "a=b&" * 1500, 400, "Parameter verification failed."),
        ("/api2/json/nodes/localhost/version", 200, "OK"),
    ],
)
def test_odd_paths_are_refused(pve: Pve, path: str, status: int, reason: str) -> None:
    got = raw(pve, request(pve, "GET", path))
    assert (got[0], got[1].startswith(reason), b"Evil" in got[1].encode() and b"\n" in got[1].encode()) == (
        status,
        True,
        False,
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api2/json/version HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /api2/json/version HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"POST /api2/json/pools HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"GET /api2/json/version HTTP/1.1\r\nHost: a\r\nAuthorization: PVEAPIToken=\xff\xfe!=\r\n\r\n",
        b"GET /api2/json/version HTTP/1.1\r\nHost: a\r\nCookie: PVEAuthCookie=" + b"%" * 3000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_with_400_or_401(pve: Pve, sent: bytes) -> None:
    status, _, body = raw(pve, sent)
    assert status in (400, 401)
    assert b"Traceback" not in body


def test_a_parameter_may_not_contradict_the_path(pve: Pve) -> None:
    pve.clone(800)
    answer = pve.send("PUT", f"{VM}/800/config", vmid=9000, memory=512)
    why = "duplicate parameter (already defined in URI) with conflicting values!"
    assert (answer.status_code, answer.json()["errors"]) == (400, {"vmid": why})
    assert pve.send("PUT", f"{VM}/800/config", vmid=800, memory=512).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (FORM, b"content=iso", 0),
        ("multipart/form-data", b"--x\r\n", 0),
        ("multipart/form-data; boundary=x", b"garbage without a boundary", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\niso',
            400,
        ),
    ],
)
def test_an_upload_that_is_none_is_cut_off_or_refused(pve: Pve, kind: str, body: bytes, status: int) -> None:
    got = raw(pve, request(pve, "POST", "/api2/json/nodes/pve1/storage/local/upload", body, kind))
    assert (got[0], b"Traceback" in got[2]) == (status, False)
    assert pve.ok("GET", "/nodes/pve1/storage/local/content", content="iso") == []


def test_a_caller_that_leaves_in_the_middle_has_no_effect(pve: Pve) -> None:
    raw(pve, request(pve, "POST", POOLS, b"poolid=half", length=50), end=True)
    raw(pve, b"GET /api2/json/ver", end=True)
    assert pve.ok("GET", "/pools") == []


def test_hundreds_of_connections_at_once_are_all_answered(pve: Pve) -> None:
    context, sent = tls(pve), request(pve, "GET", "/api2/json/version", b"", FORM, "Connection: close")

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", pve.sandbox.port, ssl=context)
        await everybody.wait()
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.partition(b"\r\n")[0]

    everybody = asyncio.Barrier(MANY)

    async def all_of_them() -> list[bytes]:
        async with asyncio.timeout(20):
            return await asyncio.gather(*(one() for _ in range(MANY)))

    assert set(asyncio.run(all_of_them())) == {b"HTTP/1.1 200 OK"}
