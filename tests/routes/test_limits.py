"""Who asks too often is told so, and when to ask again; others are not in their way."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support import databases, plain_http
from tests.support.processes import end, free_port, start_jotunheim, wait_for
from tests.support.service import Service

NAMES = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
WRONG = {"Authorization": "Bearer jtn_" + "0" * 49}
LIMITED = {
    "JOTUNHEIM_RATE_LIMIT": "20/hour",
    "JOTUNHEIM_AUTH_FAILURE_LIMIT": "5/hour",
    "JOTUNHEIM_TRUSTED_PROXIES": "127.0.0.1",
}


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Service]:
    """A service that takes 20 requests with a token, and 5 wrong tokens from an address."""
    with Service.start(tmp_path / "state", worker=False, settings=LIMITED) as started:
        yield started


def _url(service: Service, path: str) -> str:
    return str(service.http.base_url).rstrip("/") + path


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def test_every_answer_tells_what_is_left(limited: Service) -> None:
    told = [
        limited.http.get("/admin/locations"),
        limited.http.get("/admin/locations/99"),
        limited.http.post("/admin/locations", json={}),
        limited.http.head("/admin/locations"),
    ]
    assert [answer.status_code for answer in told] == [200, 404, 422, 200]
    assert [[answer.headers[name] for name in NAMES[:2]] for answer in told] == [
        ["20", "19"],
        ["20", "18"],
        ["20", "17"],
        ["20", "16"],
    ]
    assert all(3500 < int(answer.headers[NAMES[2]]) <= 3600 for answer in told)
    for stranger in (
        plain_http.get(_url(limited, "/admin/locations")),
        plain_http.get(_url(limited, "/openapi.json")),
    ):
        assert not any(name in stranger.headers for name in NAMES)


def test_one_request_too_many_is_429_with_the_time_to_wait(limited: Service) -> None:
    statuses = [limited.http.get("/admin/locations").status_code for _ in range(20)]
    assert statuses == [200] * 20
    for _ in range(2):
        refused = limited.http.post("/admin/locations", json={"name": "late", "short_code": "late"})
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["code"], error["details"]) == ("rate_limit_exceeded", [])
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert f"{refused.headers['retry-after']} seconds" in error["message"]
    stream = limited.http.get(
        "/admin/jobs/00000000-0000-4000-8000-000000000000/events", headers={"Accept": "text/event-stream"}
    )
    assert stream.status_code == 429
    assert plain_http.get(_url(limited, "").replace("/api/v1", "/healthz")).status_code == 200


def test_guessing_is_slow_for_an_address_and_for_nobody_else(limited: Service) -> None:
    for_all = {"Authorization": f"Bearer {limited.token}"}
    assert (
        plain_http.get(_url(limited, "/admin/locations"), headers=for_all | _from("192.0.2.1")).status_code
        == 200
    )
    guesses = [
        plain_http.get(_url(limited, "/admin/locations"), headers=WRONG | _from("192.0.2.1"))
        for _ in range(8)
    ]
    assert [answer.status_code for answer in guesses] == [401] * 5 + [429] * 3
    assert all("retry-after" in answer.headers for answer in guesses[5:])
    assert all(answer.headers.get("www-authenticate") == "Bearer" for answer in guesses[:5])
    # A token that was right before, from the same address; and strangers elsewhere.
    assert (
        plain_http.get(_url(limited, "/admin/locations"), headers=for_all | _from("192.0.2.1")).status_code
        == 200
    )
    assert (
        plain_http.get(_url(limited, "/admin/locations"), headers=WRONG | _from("192.0.2.2")).status_code
        == 401
    )
    # Claiming another address on top of one's own changes nothing.
    claimed = WRONG | _from("6.6.6.6, 192.0.2.1")
    assert plain_http.get(_url(limited, "/admin/locations"), headers=claimed).status_code == 429
    # A network of IPv6 is one address.
    statuses = [
        plain_http.get(_url(limited, "/admin/locations"), headers=WRONG | _from(f"2001:db8::{n}")).status_code
        for n in range(1, 8)
    ]
    assert statuses == [401] * 5 + [429] * 2


def test_processes_count_together_on_redis_and_alone_without_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(ExitStack())
        url = redis.enter_context(databases.redis(tmp_path))
        settings = {**LIMITED, "JOTUNHEIM_QUEUE_URL": url}
        service = stack.enter_context(Service.start(tmp_path / "state", worker=False, settings=settings))
        port = free_port()
        log = tmp_path / "second.log"
        second = start_jotunheim(
            ["serve"], log, {**service.environment, "JOTUNHEIM_LISTEN": f"127.0.0.1:{port}"}
        )
        stack.callback(end, second, log)
        there = f"http://127.0.0.1:{port}"
        wait_for(lambda: _is_up(there), "the second API")
        headers = {"Authorization": f"Bearer {service.token}"}
        paths = [_url(service, "/admin/locations"), f"{there}/api/v1/admin/locations"]
        answers = [plain_http.get(paths[number % 2], headers=headers) for number in range(22)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 2
        assert [answer.headers["ratelimit-remaining"] for answer in answers[:3]] == ["19", "18", "17"]
        guesses = [plain_http.get(paths[number % 2], headers=WRONG).status_code for number in range(7)]
        assert guesses == [401] * 5 + [429] * 2
        redis.close()
        alone = [plain_http.get(path, headers=headers) for path in paths for _ in range(2)]
        assert [answer.status_code for answer in alone] == [200] * 4
        assert [answer.headers["ratelimit-remaining"] for answer in alone] == ["19", "18"] * 2
        assert max(answer.elapsed.total_seconds() for answer in alone) < 2
        guesses = [plain_http.get(paths[0], headers=WRONG).status_code for _ in range(7)]
        assert guesses == [401] * 5 + [429] * 2
        said = (service.state / "serve.log").read_text()
        assert said.count("Redis does not count requests") == 1
        assert url not in said


def _is_up(origin: str) -> bool:
    try:
        return plain_http.get(f"{origin}/readyz").status_code == 200
    except httpx.TransportError:
        return False
