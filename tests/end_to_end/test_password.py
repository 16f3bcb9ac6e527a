"""Passwords: at once where the agent answers, at the next boot elsewhere, and nowhere to be found."""

import sqlite3
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

CANARY = "canary-password-7f3a"


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A server that is switched off."""
    return service.built("secretive", start=False)


def secrets_of(service: Service, server: dict[str, Any]) -> int:
    """How many secrets the store has of a server."""
    with sqlite3.connect(service.state / "jotunheim.db") as store:
        query = "SELECT COUNT(*) FROM secret WHERE name LIKE ?"
        return int(store.execute(query, (f"server/{server['id']}/%",)).fetchone()[0])


def test_without_an_agent_a_password_applies_at_the_next_boot(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    answer = service.ask(f"servers/{server['id']}/password", {"password": CANARY})
    assert answer["root_password"] is None
    job = service.finished(answer["job"]["id"])
    assert job["status"] == "succeeded", job
    assert job["result"] == {"account": "debian", "applied": "at_next_boot"}
    assert sandbox.config(server["vmid"])["cipassword"] == "**********"
    assert secrets_of(service, server) == 0


def test_a_generated_password_is_answered_once(service: Service, server: dict[str, Any]) -> None:
    answer = service.ask(f"servers/{server['id']}/password")
    assert len(answer["root_password"]) >= 20
    job = service.finished(answer["job"]["id"])
    assert answer["root_password"] not in str(job)
    assert secrets_of(service, server) == 0


def test_a_failed_job_forgets_the_password_and_cannot_be_retried(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    fault = {"method": "PUT", "path": f"/qemu/{server['vmid']}/config$", "status": 500, "message": CANARY}
    sandbox.control.post("/faults", json={**fault, "count": 1}).raise_for_status()
    job = service.finished(service.ask(f"servers/{server['id']}/password", {"password": CANARY})["job"]["id"])
    assert job["status"] == "failed"
    assert secrets_of(service, server) == 0
    status, error = service.refused(f"jobs/{job['id']}/retry")
    assert (status, error["code"]) == (409, "conflict")


def test_no_password_is_left_anywhere(service: Service, server: dict[str, Any]) -> None:
    service.done(f"servers/{server['id']}/password", {"password": CANARY})
    found = [
        file for file in service.state.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize("password", ["short", "x" * 129, "new\nline-password", 12345678])
def test_a_bad_password_is_refused_without_being_repeated(
    service: Service, server: dict[str, Any], password: Any
) -> None:
    status, error = service.refused(f"servers/{server['id']}/password", {"password": password})
    assert (status, error["details"][0]["field"]) == (422, "password")
    assert str(password) not in str(error)


def test_with_an_agent_a_password_applies_at_once(service: Service, sandbox: Sandbox) -> None:
    server = service.built("talkative")
    guest = f"/vms/{server['vmid']}"
    wait_for(lambda: sandbox.control.get(guest).json()["agent_answers"], "the guest agent")
    job = service.done(f"servers/{server['id']}/password", {"password": CANARY})
    assert job["result"] == {"account": "debian", "applied": "now"}
    assert set(sandbox.control.get(guest).json()["passwords"]) == {"debian"}

    # The account of the next start does not exist yet in the guest that runs.
    service.done(f"servers/{server['id']}", {"cloud_init": {"user": "ops"}}, "PATCH")
    before = sandbox.control.get(guest).json()["config"]
    job = service.finished(service.ask(f"servers/{server['id']}/password")["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "guest_refused")
    assert sandbox.control.get(guest).json()["config"] == before
    assert secrets_of(service, server) == 0
