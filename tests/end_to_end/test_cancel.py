"""Cancelled jobs: Ansible is stopped, what was made goes or stays as the job says, records and node agree."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_client_api import command
from tests.support import plain_http
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

OLD, NEW = {"cpu": 1, "tags": ["old"]}, {"cpu": 2, "tags": ["new"]}


@pytest.fixture
def stuck(sandbox: Sandbox) -> Iterator[Any]:
    """Lets the next request of this kind strike a fault, and tells when it has; faults end with the test."""
    made: list[int] = []

    def arm(method: str, path: str, **effect: Any) -> Any:
        since = sandbox.requests_logged()
        fault = {"method": method, "path": path, "count": 1, **effect}
        made.append(sandbox.control.post("/faults", json=fault).raise_for_status().json()["id"])
        return lambda: wait_for(
            lambda: any(entry["fault"] for entry in sandbox.request_log(since)),
            f"{method} {path}",
            seconds=40,
        )

    yield arm
    for id_ in made:
        sandbox.control.delete(f"/faults/{id_}")


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A running server."""
    return service.built("called-off", limits={"snapshots": 2}, **OLD)


def cancelled(service: Service, job: dict[str, Any], on_cancel: str = "cleanup") -> dict[str, Any]:
    """The job at its end, after it was asked to be cancelled while it ran."""
    answer = service.http.post(f"/admin/jobs/{job['id']}/cancel", json={"on_cancel": on_cancel})
    assert answer.status_code == 202, answer.text
    assert answer.json()["job"]["cancel_requested"] == on_cancel
    return service.finished(job["id"], seconds=60)


def status(sandbox: Sandbox, server: dict[str, Any]) -> str:
    """What the node says."""
    return str(sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"])


def tasks(sandbox: Sandbox, job: dict[str, Any]) -> list[str]:
    """How the tasks of a job ended."""
    return [
        sandbox.get(f"/nodes/pve1/tasks/{upid}/status").get("exitstatus", "running") for upid in job["upids"]
    ]


def test_a_build_is_taken_back_with_all_that_it_reserved(
    service: Service, sandbox: Sandbox, stuck: Any
) -> None:
    before, free = sandbox.vmids(), service.read("address-pools")["address_pools"][0]["free"]
    hangs = stuck("POST", "/clone$", task_hangs=True)
    created = service.create_server("never-mind", addresses={"ipv4": 2}, password="some-Passw0rd")
    hangs()
    wait_for(
        lambda: service.read(f"jobs/{created['job']['id']}")["job"]["upids"], "the clone's id", seconds=40
    )
    job = cancelled(service, created["job"])
    assert (job["status"], job["error"]) == ("cancelled", None), job
    assert "running" not in tasks(sandbox, job)
    assert sandbox.vmids() == before
    assert service.http.get(f"/admin/servers/{created['server']['id']}").status_code == 404
    assert service.read("address-pools")["address_pools"][0]["free"] == free
    again = service.create_server("never-mind", start=False)  # name and VMID are free again
    assert again["server"]["vmid"] == created["server"]["vmid"]
    assert service.finished(again["job"]["id"])["status"] == "succeeded"


def test_a_build_that_is_kept_can_be_continued(service: Service, sandbox: Sandbox, stuck: Any) -> None:
    waits = stuck("PUT", "/config$", delay=3)
    created = service.create_server("on-second-thought", start=False)
    waits()
    job = cancelled(service, created["job"], "keep")
    assert job["status"] == "cancelled", job
    server = service.server(created["server"]["id"])
    assert (server["status"], server["job_id"]) == ("build_failed", None)
    assert server["vmid"] in sandbox.vmids()
    clones = len(sandbox.clone_tasks())
    service.ask(f"jobs/{job['id']}/retry")
    assert service.finished(job["id"])["status"] == "succeeded"
    assert service.server(server["id"])["status"] == "ready"
    assert len(sandbox.clone_tasks()) == clones


@pytest.mark.parametrize(("on_cancel", "stands"), [("cleanup", OLD), ("keep", NEW)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_is_taken_back_or_stands_on_both_sides(
    service: Service,
    sandbox: Sandbox,
    server: dict[str, Any],
    stuck: Any,
    on_cancel: str,
    stands: Any,
    when: str,
) -> None:
    path = f"servers/{server['id']}"
    waits = stuck("PUT", f"/qemu/{server['vmid']}/config$", delay=3, when=when)
    job = service.ask(path, {**NEW, "addresses": {"ipv4": 1}}, "PATCH")["job"]
    waits()
    assert cancelled(service, job, on_cancel)["status"] == "cancelled"
    after, config = service.server(server["id"]), sandbox.config(server["vmid"])
    assert (after["cpu"], after["tags"]) == (stands["cpu"], stands["tags"])
    assert (config.get("cores", 1), config["tags"]) == (stands["cpu"], ";".join(stands["tags"]))
    told = [address["address"] for address in after["addresses"]]
    assert len(told) == (1 if on_cancel == "keep" else 0)
    assert all(address in config["ipconfig0"] for address in told) or config["ipconfig0"] == "ip=dhcp"
    service.done(path, {**OLD, "addresses": {"ipv4": 0}}, "PATCH")


def test_a_rebuild_is_given_up_while_the_old_disk_is_in_place(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any
) -> None:
    disk, vms = sandbox.config(server["vmid"])["scsi0"], sandbox.vmids()
    hangs = stuck("POST", "/clone$", task_hangs=True)
    job = service.ask(f"servers/{server['id']}/rebuild")["job"]
    hangs()
    wait_for(lambda: service.read(f"jobs/{job['id']}")["job"]["upids"], "the clone's id", seconds=40)
    assert cancelled(service, job)["status"] == "cancelled"
    assert sandbox.vmids() == vms
    assert sandbox.config(server["vmid"])["scsi0"] == disk
    assert (service.server(server["id"])["status"], status(sandbox, server)) == ("ready", "running")


def test_a_rebuild_that_swaps_already_goes_to_its_end(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any
) -> None:
    disk, vms = sandbox.config(server["vmid"])["scsi0"], sandbox.vmids()
    waits = stuck("POST", "/move_disk$", delay=3)
    job = service.ask(f"servers/{server['id']}/rebuild")["job"]
    waits()
    ended = cancelled(service, job)
    assert (ended["status"], ended["cancel_requested"]) == ("succeeded", None), ended
    assert sandbox.vmids() == vms
    config = sandbox.config(server["vmid"])
    assert config["scsi0"] != disk
    assert "unused0" not in config
    assert status(sandbox, server) == "running"


@pytest.mark.parametrize("on_cancel", ["cleanup", "keep"])
def test_a_shutdown_is_called_off(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any, on_cancel: str
) -> None:
    usual = sandbox.control.get("/settings").json()["durations"]["shutdown"]
    sandbox.control.patch("/settings", json={"durations": {"shutdown": 1000.0}}).raise_for_status()
    waits = stuck("POST", "/status/shutdown$", delay=0)
    body = {"action": "shutdown", "timeout_seconds": 12 if on_cancel == "keep" else 600}
    job = service.ask(f"servers/{server['id']}/power", body)["job"]
    waits()
    wait_for(lambda: service.read(f"jobs/{job['id']}")["job"]["upids"], "the task's id", seconds=40)
    job = cancelled(service, job, on_cancel)
    sandbox.control.patch("/settings", json={"durations": {"shutdown": usual}}).raise_for_status()
    assert job["status"] == "cancelled", job
    assert "running" not in tasks(sandbox, job)
    assert service.server(server["id"])["power"] == status(sandbox, server) == "running"


@pytest.mark.parametrize(("on_cancel", "left"), [("cleanup", []), ("keep", ["half"])])
def test_a_snapshot_goes_or_is_finished(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any, on_cancel: str, left: list[str]
) -> None:
    path = f"servers/{server['id']}/snapshots"
    waits = stuck("POST", "/snapshot$", delay=3, when="after")
    job = service.ask(path, {"name": "half"})["job"]
    waits()
    assert cancelled(service, job, on_cancel)["status"] == "cancelled"
    assert [snapshot["name"] for snapshot in service.read(path)["snapshots"]] == left
    assert "lock" not in sandbox.config(server["vmid"])
    for name in left:
        service.done(f"{path}/{name}", method="DELETE")


def test_a_rollback_that_is_stopped_leaves_our_configuration(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any
) -> None:
    path = f"servers/{server['id']}"
    service.done(f"{path}/snapshots", {"name": "past"})
    service.done(path, NEW, "PATCH")
    waits = stuck("POST", "/rollback$", delay=3, when="after")
    job = service.ask(f"{path}/snapshots/past/rollback")["job"]
    waits()
    assert cancelled(service, job)["status"] == "cancelled"
    assert sandbox.config(server["vmid"])["cores"] == service.server(server["id"])["cpu"] == NEW["cpu"]
    assert service.server(server["id"])["power"] == status(sandbox, server)
    service.done(f"{path}/snapshots/past", method="DELETE")
    service.done(path, OLD, "PATCH")
    service.done(f"{path}/power", {"action": "start"})


@pytest.mark.parametrize(("on_cancel", "suspended"), [("cleanup", False), ("keep", True)])
def test_a_suspension_is_taken_back(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any, on_cancel: str, suspended: bool
) -> None:
    path = f"servers/{server['id']}"
    waits = stuck("POST", "/status/stop$", delay=3, when="after")
    job = service.ask(f"{path}/suspend", {"reason": "unpaid"})["job"]
    waits()
    assert cancelled(service, job, on_cancel)["status"] == "cancelled"
    after = service.server(server["id"])
    assert (after["suspended"] is not None) is suspended
    assert after["power"] == status(sandbox, server) == ("stopped" if suspended else "running")
    if suspended:
        waits = stuck("POST", "/status/start$", delay=3, when="after")
        job = service.ask(f"{path}/unsuspend")["job"]
        waits()
        assert cancelled(service, job)["status"] == "cancelled"
        assert service.server(server["id"])["suspended"]
        assert status(sandbox, server) == "stopped"
        service.done(f"{path}/unsuspend")
    assert int(sandbox.config(server["vmid"]).get("onboot", 0)) == 1


def test_a_password_is_forgotten(service: Service, server: dict[str, Any], stuck: Any) -> None:
    waits = stuck("PUT", f"/qemu/{server['vmid']}/config$", delay=3)
    job = service.ask(f"servers/{server['id']}/password")["job"]
    waits()
    ended = cancelled(service, job)
    assert (ended["status"], ended["result"]["applied"]) == ("cancelled", "unknown")
    status, error = service.refused(f"jobs/{job['id']}/retry")
    assert (status, error["code"]) == (409, "conflict")


def test_a_deletion_stops_where_it_is_or_is_done(service: Service, sandbox: Sandbox, stuck: Any) -> None:
    server = service.built("spared")
    waits = stuck("POST", f"/qemu/{server['vmid']}/status/stop$", delay=3)
    job = service.ask(f"servers/{server['id']}", method="DELETE")["job"]
    waits()
    assert cancelled(service, job)["status"] == "cancelled"
    after = service.server(server["id"])
    assert (after["status"], after["power"]) == ("delete_failed", status(sandbox, server))
    assert server["vmid"] in sandbox.vmids()
    waits = stuck("DELETE", f"/qemu/{server['vmid']}$", delay=3, when="after")
    job = service.ask(f"servers/{server['id']}", method="DELETE")["job"]
    waits()
    assert cancelled(service, job)["status"] == "succeeded"  # too late
    assert server["vmid"] not in sandbox.vmids()
    assert service.http.get(f"/admin/servers/{server['id']}").status_code == 404


def test_a_request_that_is_on_its_way_is_waited_for(
    service: Service, sandbox: Sandbox, server: dict[str, Any], stuck: Any
) -> None:
    service.done(f"servers/{server['id']}/power", {"action": "start"})
    waits = stuck("POST", "/status/stop$", delay=4)
    job = service.ask(f"servers/{server['id']}/power", {"action": "stop"})["job"]
    waits()
    assert cancelled(service, job)["status"] == "cancelled"
    assert service.server(server["id"])["power"] == status(sandbox, server) == "stopped"


def test_a_preview_is_just_stopped(service: Service, server: dict[str, Any], stuck: Any) -> None:
    waits = stuck("GET", f"/qemu/{server['vmid']}/config$", delay=3)
    job = service.ask(f"servers/{server['id']}?check=true", NEW, "PATCH")["job"]
    waits()
    assert cancelled(service, job)["status"] == "cancelled"
    assert service.server(server["id"])["cpu"] == OLD["cpu"]


def test_what_is_over_cannot_be_cancelled(service: Service, server: dict[str, Any]) -> None:
    job = service.done(f"servers/{server['id']}/power", {"action": "start"})
    code, error = service.refused(f"jobs/{job['id']}/cancel")
    assert (code, error["code"]) == (409, "conflict")
    code, error = service.refused(f"jobs/{job['id']}/cancel", {"on_cancel": "maybe"})
    assert (code, error["details"][0]["field"]) == (422, "on_cancel")


def test_owners_cancel_what_they_asked_for_and_nothing_else(
    service: Service, sandbox: Sandbox, stuck: Any
) -> None:
    user = command(
        service, "user", "create", "--email", "fickle@example.com", "--name", "F", "--role", "client"
    )
    token = command(
        service, "token", "create", "--user", "fickle@example.com", "--name", "t",
        "--scope", "servers:read", "--scope", "servers:write",
    )  # fmt: skip
    theirs = service.built("theirs", owner_id=user["user"]["id"])
    other = service.built("not-theirs", start=False)
    with plain_http.Client(
        base_url=service.http.base_url, headers={"Authorization": f"Bearer {token['secret']}"}, timeout=30
    ) as http:
        waits = stuck("POST", "/status/stop$", delay=3)
        job = http.post(f"/client/servers/{theirs['id']}/power", json={"action": "stop"}).json()["job"]
        waits()
        answer = http.post(f"/client/jobs/{job['id']}/cancel")
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/api/v1/client/jobs/{job['id']}"
        assert service.finished(job["id"])["status"] == "cancelled"
        assert service.server(theirs["id"])["power"] == status(sandbox, theirs)
        scheduled = service.ask(f"servers/{theirs['id']}", {"delay_seconds": 600}, "DELETE")["job"]
        assert http.post(f"/client/jobs/{scheduled['id']}/cancel").status_code == 403
        assert http.post(f"/client/jobs/{scheduled['id']}/retry").status_code == 403
        foreign = service.ask(f"servers/{other['id']}", {"delay_seconds": 600}, "DELETE")["job"]
        assert http.post(f"/client/jobs/{foreign['id']}/cancel").status_code == 404
        assert http.post(f"/client/jobs/{job['id']}/retry").status_code == 202
        assert service.finished(job["id"])["status"] == "succeeded"
    assert service.ask(f"jobs/{scheduled['id']}/cancel")["job"]["status"] == "cancelled"


def test_a_job_that_nobody_has_begun_is_cancelled_at_once_with_what_it_recorded(
    fresh_service: Service, sandbox: Sandbox
) -> None:
    service = fresh_service
    worker = service.start_worker(JOTUNHEIM_VMID_FIRST="8000")
    service.add_infrastructure(sandbox)
    server = service.built("waiting", **OLD)
    service.kill_worker(worker)
    path = f"servers/{server['id']}"
    free = service.read("address-pools")["address_pools"][0]["free"]
    since = sandbox.requests_logged()

    def called_off(job: dict[str, Any], **body: Any) -> None:
        answer = service.http.post(f"/admin/jobs/{job['id']}/cancel", json=body)
        assert (answer.status_code, answer.json()["job"]["status"]) == (200, "cancelled")

    for method, sub, body in (
        ("PATCH", "", {**NEW, "name": "renamed", "addresses": {"ipv4": 2}}),
        ("POST", "/suspend", {"reason": "unpaid"}),
        ("POST", "/password", {}),
        ("POST", "/power", {"action": "stop"}),
        ("DELETE", "", {}),
    ):
        called_off(service.ask(path + sub, body, method)["job"])
        after = service.server(server["id"])
        assert {**after, "updated_at": None} == {**server, "updated_at": None}
        assert service.read("address-pools")["address_pools"][0]["free"] == free
    created = service.create_server("unborn", addresses={"ipv4": 1})
    called_off(created["job"])
    assert service.http.get(f"/admin/servers/{created['server']['id']}").status_code == 404
    assert service.read("address-pools")["address_pools"][0]["free"] == free
    kept = service.create_server("unborn")
    called_off(kept["job"], on_cancel="keep")
    assert service.server(kept["server"]["id"])["status"] == "build_failed"
    changing = [entry for entry in sandbox.request_log(since) if entry["method"] != "GET"]
    assert changing == []


def test_a_cancellation_survives_its_worker(fresh_service: Service, sandbox: Sandbox, stuck: Any) -> None:
    service, vms = fresh_service, sandbox.vmids()
    service.add_infrastructure(sandbox)
    worker = service.start_worker()
    hangs = stuck("POST", "/clone$", task_hangs=True)
    created = service.create_server("twice-unlucky")
    hangs()
    wait_for(
        lambda: service.read(f"jobs/{created['job']['id']}")["job"]["upids"], "the clone's id", seconds=40
    )
    waits = stuck("DELETE", "/tasks/", delay=3)
    service.ask(f"jobs/{created['job']['id']}/cancel")
    waits()
    service.kill_worker(worker)
    service.start_worker()
    job = service.finished(created["job"]["id"], seconds=60)
    assert (job["status"], job["attempt"]) == ("cancelled", 2), job
    assert sandbox.vmids() == vms
    assert list((service.state / "runs").iterdir()) == []
    assert "Traceback" not in (service.state / "worker.log").read_text()


def _command_lines() -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_a_run_that_ignores_its_cancellation_is_killed(
    fresh_service: Service, sandbox: Sandbox, stuck: Any
) -> None:
    service = fresh_service
    service.add_infrastructure(sandbox)
    service.start_worker()
    waits = stuck("PUT", "/config$", delay=20)
    created = service.create_server("deaf")
    waits()
    ours = str(service.state / "runs")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if ours in (folder / "cmdline").read_text():
                os.kill(int(folder.name), signal.SIGSTOP)
        except (OSError, UnicodeDecodeError):
            continue
    job = cancelled(service, created["job"])
    assert job["status"] == "cancelled", job
    assert not any(ours in line for line in _command_lines())
