"""The HTTP client against services that misbehave."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jotunheim.cli.client import Api
from jotunheim.cli.errors import CommandError, ExitCode
from tests.cli.conftest import Run
from tests.support.sandbox import Sandbox

TOKEN = "jtn_x"


class Flaky(ThreadingHTTPServer):
    """Cuts the first connections, then answers."""

    daemon_threads = True

    def __init__(self, cuts: int, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts = cuts
        self.status = status
        self.body = body
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers as its server says."""

    server: Flaky

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.close_connection = True

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("Idempotency-Key"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if len(self.server.keys) <= self.server.cuts:
            return
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Nothing."""


@pytest.fixture
def flaky(request: pytest.FixtureRequest) -> Iterator[Flaky]:
    server = Flaky(*request.param)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


LOCATION = json.dumps({"location": {"id": 1, "name": "n", "short_code": "s"}}).encode()
EMPTY = json.dumps({"locations": [], "meta": {"pagination": {"next_page": None}}}).encode()


@pytest.mark.parametrize("flaky", [(1, 201, LOCATION)], indirect=True)
def test_a_write_is_sent_once_more_under_the_same_key(flaky: Flaky, run: Run) -> None:
    ran = run("location", "add", "s", "--json", JOTUNHEIM_URL=flaky.url, JOTUNHEIM_TOKEN=TOKEN)
    assert ran.status == 0, ran.err
    assert len(flaky.keys) == 2
    assert flaky.keys[0] == flaky.keys[1] is not None


@pytest.mark.parametrize("flaky", [(9, 201, LOCATION)], indirect=True)
def test_a_write_is_sent_twice_at_most(flaky: Flaky, run: Run) -> None:
    ran = run("location", "add", "s", "--json", JOTUNHEIM_URL=flaky.url, JOTUNHEIM_TOKEN=TOKEN)
    assert ran.status == 3
    assert ran.document["error"]["code"] == "service_unreachable"
    assert len(flaky.keys) == 2


@pytest.mark.parametrize("flaky", [(1, 200, b"{}")], indirect=True)
@pytest.mark.parametrize("method", ["patch", "delete"])
def test_what_a_second_time_would_be_refused_is_sent_once(flaky: Flaky, method: str) -> None:
    with Api(flaky.url, TOKEN) as api, pytest.raises(CommandError) as failed:
        getattr(api, method)("/servers/1", {})
    assert flaky.keys == [None]
    assert failed.value.exit_code is ExitCode.UNREACHABLE
    assert "may have arrived" in failed.value.message
    assert "jotunheim job list" in (failed.value.hint or "")


def test_a_connection_that_was_never_made_lost_nothing() -> None:
    with Api("http://127.0.0.1:1", TOKEN) as api, pytest.raises(CommandError) as failed:
        api.delete("/servers/1")
    assert "may have arrived" not in failed.value.message


@pytest.mark.parametrize("flaky", [(2, 200, EMPTY)], indirect=True)
def test_a_read_is_repeated_through_a_short_outage(flaky: Flaky, run: Run) -> None:
    ran = run("location", "list", "--json", JOTUNHEIM_URL=flaky.url, JOTUNHEIM_TOKEN=TOKEN)
    assert ran.status == 0, ran.err
    assert ran.document == {"locations": []}


@pytest.mark.parametrize(
    "flaky", [(0, 502, b"<h1>Bad Gateway</h1>"), (0, 200, b"hello"), (0, 500, b"[]")], indirect=True
)
def test_an_answer_that_is_not_the_apis_counts_as_unreachable(flaky: Flaky, run: Run) -> None:
    ran = run("location", "list", JOTUNHEIM_URL=flaky.url, JOTUNHEIM_TOKEN=TOKEN)
    assert ran.status == 3
    assert "JOTUNHEIM_URL" in ran.err
    assert ran.out == ""


def test_nobody_listening_is_status_3_and_says_what_to_check(run: Run) -> None:
    ran = run("server", "list", JOTUNHEIM_URL="http://127.0.0.1:1", JOTUNHEIM_TOKEN=TOKEN)
    assert ran.status == 3
    assert ran.err.splitlines()[0].startswith("Error: No answer from http://127.0.0.1:1: ")
    assert "Traceback" not in ran.err


def test_a_certificate_is_verified_and_the_authority_can_be_named(sandbox: Sandbox, run: Run) -> None:
    environment = {"JOTUNHEIM_URL": sandbox.ready["url"], "JOTUNHEIM_TOKEN": TOKEN}
    ran = run("server", "list", **environment)
    assert ran.status == 3
    assert "JOTUNHEIM_CA_FILE" in ran.err
    trusted = run("server", "list", JOTUNHEIM_CA_FILE=sandbox.ready["ca_pem_file"], **environment)
    assert "certificate" not in trusted.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOTUNHEIM_TOKEN", ""),
        ("JOTUNHEIM_TOKEN", "jtn_ü"),
        ("JOTUNHEIM_URL", "127.0.0.1:8080"),
        ("JOTUNHEIM_URL", "ftp://x"),
        ("JOTUNHEIM_CA_FILE", "/does/not/exist"),
    ],
)
def test_bad_environment_is_bad_usage_and_names_the_variable(run: Run, name: str, value: str) -> None:
    environment = {"JOTUNHEIM_URL": "https://127.0.0.1:1", "JOTUNHEIM_TOKEN": TOKEN, name: value}
    ran = run("server", "list", **environment)
    assert ran.status == 2
    assert name in ran.err
