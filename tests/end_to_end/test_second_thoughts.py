"""What happens when a failed job is tried again, or fails, after the server was changed otherwise."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


def fault(sandbox: Sandbox, **described: Any) -> int:
    """Add a fault to the sandbox; returns its id."""
    made = sandbox.control.post("/faults", json=described).raise_for_status().json()
    return int(made["id"])


def mend(sandbox: Sandbox, *ids: int) -> None:
    """Remove faults."""
    for id_ in ids:
        sandbox.control.delete(f"/faults/{id_}").raise_for_status()


def failed(
    service: Service, path: str, body: dict[str, Any] | None = None, method: str = "POST"
) -> dict[str, Any]:
    """The job of a request, which must fail."""
    job = service.finished(service.ask(path, body, method)["job"]["id"])
    assert job["status"] == "failed", job
    return job


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A server without addresses."""
    return service.built("reconsidered", start=False)


def test_a_retry_does_not_undo_what_came_later(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path, config = f"servers/{server['id']}", f"/qemu/{server['vmid']}/config$"
    id_ = fault(sandbox, method="PUT", path=config, status=500, message="no", count=2)
    cpu = failed(service, path, {"cpu": 2}, "PATCH")
    tags = failed(service, path, {"tags": ["a"]}, "PATCH")
    mend(sandbox, id_)
    service.done(path, {"cpu": 4, "addresses": {"ipv4": 1}}, "PATCH")
    status, error = service.refused(f"jobs/{cpu['id']}/retry")
    assert (status, error["code"]) == (409, "conflict")
    service.ask(f"jobs/{tags['id']}/retry")
    assert service.finished(tags["id"])["status"] == "succeeded"
    after = service.server(server["id"])
    assert (after["cpu"], after["tags"]) == (4, ["a"])
    assert after["addresses"][0]["address"] in sandbox.config(server["vmid"])["ipconfig0"]


def test_an_address_that_the_vm_may_have_is_nobody_elses(service: Service, sandbox: Sandbox) -> None:
    server = service.built("half-told", start=False)
    path = f"servers/{server['id']}"
    id_ = fault(sandbox, method="GET", path=f"/qemu/{server['vmid']}/status/current$", status=596, count=99)
    job = failed(service, path, {"cpu": 2, "addresses": {"ipv4": 1}}, "PATCH")
    mend(sandbox, id_)
    after = service.server(server["id"])
    assert after["cpu"] == sandbox.config(server["vmid"])["cores"] == 2  # configured, and only not read back
    assert after["addresses"][0]["address"] in sandbox.config(server["vmid"])["ipconfig0"]
    service.ask(f"jobs/{job['id']}/retry")
    assert service.finished(job["id"])["status"] == "succeeded"
    assert service.server(server["id"])["addresses"] == after["addresses"]


def test_more_addresses_leave_the_first_one_where_it_is(service: Service, sandbox: Sandbox) -> None:
    below = service.built("below", addresses={"ipv4": 1}, start=False)
    server = service.built("above", addresses={"ipv4": 1}, start=False)
    service.done(f"servers/{below['id']}", method="DELETE")
    before = sandbox.config(server["vmid"])["ipconfig0"]
    service.done(f"servers/{server['id']}", {"addresses": {"ipv4": 2}}, "PATCH")
    assert service.server(server["id"])["addresses"][0] == server["addresses"][0]
    assert sandbox.config(server["vmid"])["ipconfig0"] == before
    service.done(f"servers/{server['id']}", {"addresses": {"ipv4": 1}}, "PATCH")
    assert service.server(server["id"])["addresses"] == server["addresses"]


def test_a_rebuild_is_not_repeated_after_another_one_or_a_deletion(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path = f"servers/{server['id']}"
    fault(sandbox, method="POST", path="/clone$", status=500, message="full", count=1)
    rebuild = failed(service, f"{path}/rebuild")
    service.done(f"{path}/rebuild")
    status, error = service.refused(f"jobs/{rebuild['id']}/retry")
    assert (status, error["code"]) == (409, "conflict")  # what it would destroy now is not what was meant
    fault(sandbox, method="POST", path="/clone$", status=500, message="full", count=1)
    rebuild = failed(service, f"{path}/rebuild")
    id_ = fault(sandbox, method="GET", path=f"/qemu/{server['vmid']}/config$", status=500, count=9)
    failed(service, path, method="DELETE")
    mend(sandbox, id_)
    status, error = service.refused(f"jobs/{rebuild['id']}/retry")
    assert (status, error["code"]) == (409, "conflict")
    service.done(path, method="DELETE")


def test_owners_do_not_learn_of_nodes_from_refusals(service: Service, sandbox: Sandbox) -> None:
    user = command(
        service, "user", "create", "--email", "asks@example.com", "--name", "O", "--role", "client"
    )
    token = command(
        service, "token", "create", "--user", "asks@example.com", "--name", "t",
        "--scope", "servers:read", "--scope", "servers:write",
    )  # fmt: skip
    server = service.built("asked-about", owner_id=user["user"]["id"], start=False)
    snapshot = f"/qemu/{server['vmid']}/snapshot$"
    url = f"{str(service.http.base_url).rstrip('/')}/client/servers/{server['id']}/snapshots"
    for answer, code in (
        ({"status": 596}, 503),
        ({"status": 500, "message": "Configuration file 'nodes/pve1/x.conf' does not exist"}, 409),
    ):
        id_ = fault(sandbox, method="GET", path=snapshot, count=9, **answer)
        told = plain_http.get(url, headers={"Authorization": f"Bearer {token['secret']}"})
        mend(sandbox, id_)
        assert told.status_code == code
        assert "pve1" not in told.text
        assert str(server["vmid"]) not in told.json()["error"]["message"]


SWEEPS = """
import sys, uuid
from jotunheim import settings
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers import delete, requests
from jotunheim.repositories.peewee.turns import SWEEP
from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
database.connect(settings.load())
print(*(job.id for job in delete.delete_expired()))
actor = Actor(user_id=0, email=SWEEP, role="admin", scopes=frozenset(), request_id="late")
server = Server.get_by_id(uuid.UUID(sys.argv[1]))
print(requests.enqueue(server, JobType.SUSPEND, actor, {"reason": "over"}).id)
"""
"""What a worker's sweeps do, while no worker is there to work on it."""


def test_jobs_that_waited_too_long_do_no_harm(fresh_service: Service, sandbox: Sandbox) -> None:
    worker = fresh_service.start_worker(JOTUNHEIM_VMID_FIRST="7000")
    fresh_service.add_infrastructure(sandbox)
    extended, renamed, free = (
        fresh_service.built(name, start=False) for name in ("extended", "renamed", "free")
    )
    fresh_service.kill_worker(worker)
    fresh_service.ask(f"servers/{extended['id']}", {"expires_in_seconds": 1}, "PATCH")
    time.sleep(1.1)
    swept = subprocess.run(
        [sys.executable, "-c", SWEEPS, free["id"]],
        env={**os.environ, **fresh_service.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    expiry, suspension = swept.stdout.split()
    fresh_service.ask(f"servers/{extended['id']}", {"expires_in_seconds": 3600}, "PATCH")
    rename = fresh_service.ask(f"servers/{renamed['id']}", {"name": "other", "cpu": 2}, "PATCH")["job"]
    fresh_service.create_server("renamed", start=False)
    fault(sandbox, method="PUT", path=f"/qemu/{renamed['vmid']}/config$", status=500, message="no", count=1)
    fresh_service.start_worker(JOTUNHEIM_VMID_FIRST="7000")
    for job_id, code in ((expiry, "conflict"), (suspension, "conflict"), (rename["id"], "proxmox_error")):
        job = fresh_service.finished(job_id)
        assert (job["status"], job["error"]["code"]) == ("failed", code)
    assert fresh_service.server(extended["id"])["status"] == "ready"
    assert fresh_service.server(free["id"])["suspended"] is None
    after = fresh_service.server(renamed["id"])  # its old name is somebody else's: it keeps the new one
    assert (after["name"], after["cpu"], after["job_id"]) == ("other", 1, None)
    wait_for(lambda: not fresh_service.read("jobs?status=queued")["jobs"], "the end of all jobs")


def test_a_rollback_that_is_repeated_does_not_start_what_was_stopped_since(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("switched-off-since")
    path = f"servers/{server['id']}"
    service.done(f"{path}/snapshots", {"name": "then"})
    id_ = fault(sandbox, method="POST", path="/rollback$", status=500, message="no", count=1)
    rollback = failed(service, f"{path}/snapshots/then/rollback")
    mend(sandbox, id_)
    service.done(f"{path}/power", {"action": "stop"})
    service.ask(f"jobs/{rollback['id']}/retry")
    assert service.finished(rollback["id"])["status"] == "succeeded"
    assert service.server(server["id"])["power"] == "stopped"
    status = sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"]
    assert status == "stopped"


def test_protection_can_be_previewed(service: Service) -> None:
    server = service.built("guarded", start=False)
    path = f"servers/{server['id']}/protection"
    shown = service.ask(f"{path}?check=true", {"protected": True})["server"]
    assert shown["protected"] is True
    assert service.server(server["id"]) == server
    service.ask(path, {"protected": True})
    assert service.server(server["id"])["protected"] is True
    service.ask(path, {"protected": False})
