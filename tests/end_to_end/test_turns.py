"""Which job comes next, what fails may be tried again by itself, and a queue that is full."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


def owner(service: Service, name: str) -> tuple[int, dict[str, str]]:
    """A user who is no administrator: id, and the header with their token."""
    email = f"{name}@example.com"
    user = command(service, "user", "create", "--email", email, "--name", name, "--role", "client")
    token = command(
        service,
        "token",
        "create",
        "--user",
        email,
        "--name",
        "t",
        "--scope",
        "servers:read",
        "--scope",
        "servers:write",
    )
    return user["user"]["id"], {"Authorization": f"Bearer {token['secret']}"}


def test_one_owners_many_builds_do_not_hold_up_anothers_single_one(
    fresh_service: Service, sandbox: Sandbox
) -> None:
    service = fresh_service
    service.add_infrastructure(sandbox, max_concurrent_clones=1)
    many, single = owner(service, "many")[0], owner(service, "single")[0]
    flood = [service.create_server(f"flood-{number}", owner_id=many, start=False) for number in range(4)]
    guest = service.create_server("guest", owner_id=single, start=False)
    service.start_worker()
    for created in (*flood, guest):
        assert service.finished(created["job"]["id"], seconds=120)["status"] == "succeeded"
    began = sorted(
        (service.read(f"jobs/{created['job']['id']}")["job"] for created in (*flood, guest)),
        key=lambda job: job["started_at"],
    )
    assert [job["id"] for job in began].index(guest["job"]["id"]) <= 1
    # One clone at a time on this node: none began before the one before it had ended.
    assert all(later["started_at"] >= earlier["finished_at"] for earlier, later in itertools.pairwise(began))


@pytest.fixture
def small_service(tmp_path: Path) -> Iterator[Service]:
    """A service whose queue holds three jobs, without a worker."""
    with Service.start(tmp_path / "small", worker=False, settings={"JOTUNHEIM_QUEUE_LIMIT": "3"}) as started:
        yield started


def test_a_full_queue_refuses_and_loses_nothing(small_service: Service, sandbox: Sandbox) -> None:
    service = small_service
    service.add_infrastructure(sandbox)
    many, headers = owner(service, "many")
    url = str(service.http.base_url).rstrip("/")
    server = service.create_server("queued", owner_id=many, start=False)
    worker = service.start_worker()
    service.finished(server["job"]["id"])
    service.kill_worker(worker)
    free = service.read("address-pools")["address_pools"][0]["free"]
    accepted = [service.create_server(f"full-{number}", start=False)["job"]["id"] for number in range(3)]
    answer = service.http.post(
        "/admin/servers",
        json={"name": "one-too-many", "template_id": service.ids["template"], "addresses": {"ipv4": 1}},
        headers={"Idempotency-Key": "order-1"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["Retry-After"]) >= 1
    assert service.read("address-pools")["address_pools"][0]["free"] == free
    answer = plain_http.post(
        f"{url}/client/servers/{server['server']['id']}/power", json={"action": "start"}, headers=headers
    )
    assert answer.status_code == 429
    assert len(service.read("jobs?status=queued")["jobs"]) == 3
    service.start_worker()
    assert {service.finished(id_)["status"] for id_ in accepted} == {"succeeded"}
    again = service.http.post(
        "/admin/servers",
        json={"name": "one-too-many", "template_id": service.ids["template"], "addresses": {"ipv4": 1}},
        headers={"Idempotency-Key": "order-1"},
    )
    assert again.status_code == 202  # a refusal is not what the key stands for
    assert service.finished(again.json()["job"]["id"])["status"] == "succeeded"


def test_a_failure_that_passes_costs_an_attempt_and_no_job(fresh_service: Service, sandbox: Sandbox) -> None:
    service = fresh_service
    service.add_infrastructure(sandbox)
    service.start_worker(JOTUNHEIM_RETRY_BASE_SECONDS="1")
    clones = len(sandbox.clone_tasks())
    locked = {"status": 500, "message": "can't lock file 'x' - got timeout"}
    fault = {"method": "PUT", "path": "/config$", "count": 2, **locked}
    made = sandbox.control.post("/faults", json=fault)
    created = service.create_server("patient", start=False)

    def put_off() -> dict[str, Any] | None:
        job: dict[str, Any] = service.read(f"jobs/{created['job']['id']}")["job"]
        return job if job["not_before"] else None

    waiting = wait_for(put_off, "the first attempt to fail", seconds=40)
    assert (waiting["status"], waiting["error"]["code"], waiting["finished_at"]) == (
        "queued",
        "vm_locked",
        None,
    )
    assert service.server(created["server"]["id"])["status"] == "building"
    code, error = service.refused(f"servers/{created['server']['id']}", method="DELETE")
    assert (code, error["code"]) == (409, "locked")
    job = service.finished(created["job"]["id"], seconds=90)
    assert (job["status"], job["attempt"], job["error"]) == ("succeeded", 3, None), job
    assert len(sandbox.clone_tasks()) == clones + 1
    events = [event["type"] for event in service.read(f"jobs/{job['id']}/events")["events"]]
    assert events.count("job.put_off") == 2
    sandbox.control.delete(f"/faults/{made.json()['id']}")


def test_a_failure_that_stays_ends_the_job_after_so_many_attempts(
    fresh_service: Service, sandbox: Sandbox
) -> None:
    service = fresh_service
    service.add_infrastructure(sandbox)
    service.start_worker(JOTUNHEIM_RETRY_BASE_SECONDS="0.05")
    fault = {"method": "PUT", "path": "/config$", "count": None, "status": 596}
    made = sandbox.control.post("/faults", json=fault).raise_for_status().json()["id"]
    created = service.create_server("stubborn", start=False)
    job = service.finished(created["job"]["id"], seconds=120)
    sandbox.control.delete(f"/faults/{made}")
    assert (job["status"], job["attempt"]) == ("failed", 5), job
    assert (job["error"]["code"], job["error"]["retryable"]) == ("node_unavailable", True)
    assert job["error"]["hint"]
    assert service.server(created["server"]["id"])["status"] == "build_failed"
    service.ask(f"jobs/{job['id']}/retry")
    assert service.finished(job["id"])["status"] == "succeeded"


def test_fifty_identical_requests_at_once_create_one_server(service: Service) -> None:
    body = {
        "name": "only-one",
        "template_id": service.ids["template"],
        "addresses": {"ipv4": 1},
        "start": False,
    }
    url = f"{str(service.http.base_url).rstrip('/')}/admin/servers"
    headers = {"Authorization": f"Bearer {service.token}", "Idempotency-Key": "race-50"}
    free = service.read("address-pools")["address_pools"][0]["free"]

    def post(_number: int) -> httpx.Response:
        return plain_http.post(url, json=body, headers=headers, timeout=90)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1  # the generated password too
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 49
    assert service.read("address-pools")["address_pools"][0]["free"] == free - 1
    other = plain_http.post(url, json={**body, "cpu": 2}, headers=headers, timeout=30)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert service.finished(answers[0].json()["job"]["id"])["status"] == "succeeded"
    named = [
        server for server in service.read("servers?per_page=200")["servers"] if server["name"] == "only-one"
    ]
    assert len(named) == 1
