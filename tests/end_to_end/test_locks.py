"""One job a server at a time, whoever asks and however many."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.service import Service


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A server that is switched off."""
    return service.built("contended", start=False)


def test_of_many_requests_at_once_one_is_accepted(service: Service, server: dict[str, Any]) -> None:
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/power", {"action": "start"}),
        ("POST", "/password", {}),
        ("PATCH", "", {"cpu": 2}),
        ("POST", "/suspend", {"reason": "x"}),
        ("POST", "/snapshots", {"name": "taken"}),
        ("POST", "/rebuild", {}),
    ] * 3
    barrier = threading.Barrier(len(requests))

    def ask(request: tuple[str, str, dict[str, Any]]) -> httpx.Response:
        method, path, body = request
        barrier.wait()
        return plain_http.request(
            method,
            f"{str(service.http.base_url).rstrip('/')}/admin/servers/{server['id']}{path}",
            json=body,
            headers={"Authorization": f"Bearer {service.token}"},
            timeout=60,
        )

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(ask, requests))
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer.json()["error"] for answer in answers if answer.status_code != 202]
    assert {error["code"] for error in refused} == {"locked"}
    jobs = [service.finished(answer.json()["job"]["id"]) for answer in accepted]
    assert {job["status"] for job in jobs} == {"succeeded"}, jobs
    # Several may follow each other, never overlap.
    spans = sorted((job["started_at"], job["finished_at"]) for job in jobs)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
    assert {error["details"][0]["message"] for error in refused} <= {job["id"] for job in jobs}


def test_a_request_that_was_refused_changed_nothing(service: Service) -> None:
    created = service.create_server("still-building", addresses={"ipv4": 1})
    path = f"servers/{created['server']['id']}"
    before = service.server(created["server"]["id"])
    for method, sub, body in (
        ("POST", "/suspend", {"reason": "x"}),
        ("PATCH", "", {"name": "other", "labels": {"a": "b"}, "addresses": {"ipv4": 3}}),
        ("DELETE", "", {"delay_seconds": 9}),
    ):
        status, error = service.refused(path + sub, body, method)
        assert (status, error["code"]) == (409, "locked")
        assert error["details"] == [{"field": "job_id", "message": created["job"]["id"]}]
    after = service.server(created["server"]["id"])
    for volatile in ("power", "status", "job_id", "updated_at", "disk_bytes"):
        before.pop(volatile), after.pop(volatile)
    assert after == before
    service.finished(created["job"]["id"])


def test_a_deletion_whose_time_has_come_goes_before_new_requests(service: Service) -> None:
    server = service.built("overdue", start=False)
    path = f"servers/{server['id']}"
    job = service.ask(path, {"delay_seconds": 1}, "DELETE")["job"]

    def asked() -> bool:
        answer = service.http.post(f"/admin/{path}/power", json={"action": "start"})
        return answer.status_code == 404

    wait_for(asked, "the end of the server, though it is always asked for something")
    assert service.finished(job["id"])["status"] == "succeeded"
