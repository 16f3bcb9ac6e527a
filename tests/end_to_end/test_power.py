"""Power, suspension and snapshots of one server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A running server."""
    return service.built("powered", limits={"snapshots": 2})


def power(service: Service, server: dict[str, Any], action: str, **more: Any) -> dict[str, Any]:
    """The job of a change of power that must succeed."""
    return service.done(f"servers/{server['id']}/power", {"action": action, **more})


def status(sandbox: Sandbox, server: dict[str, Any]) -> str:
    """What the node says."""
    return str(sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"])


def test_every_action_leads_where_it_says_and_is_not_repeated(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    for action, wanted in (
        ("stop", "stopped"),
        ("start", "running"),
        ("shutdown", "stopped"),
        ("start", "running"),
        ("reboot", "running"),
        ("reset", "running"),
    ):
        job = power(service, server, action)
        assert any(step["changed"] for step in job["steps"]), action
        assert status(sandbox, server) == wanted
        assert service.server(server["id"])["power"] == wanted
    assert not any(step["changed"] for step in power(service, server, "start")["steps"])
    power(service, server, "stop")
    assert not any(step["changed"] for step in power(service, server, "shutdown")["steps"])
    power(service, server, "start")


def test_a_guest_that_does_not_shut_down_is_stopped_only_when_asked(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    usual = sandbox.control.get("/settings").json()["durations"]["shutdown"]
    sandbox.control.patch("/settings", json={"durations": {"shutdown": 1000.0}}).raise_for_status()
    body = {"action": "shutdown", "timeout_seconds": 1}
    job = service.finished(service.ask(f"servers/{server['id']}/power", body)["job"]["id"])
    assert job["status"] == "failed"
    assert (job["error"]["code"], job["error"]["retryable"]) == ("shutdown_timeout", True)
    assert "force" in job["error"]["hint"]
    assert status(sandbox, server) == "running"
    power(service, server, "shutdown", timeout_seconds=1, force=True)
    assert status(sandbox, server) == "stopped"
    sandbox.control.patch("/settings", json={"durations": {"shutdown": usual}}).raise_for_status()
    power(service, server, "start")


def test_a_suspended_server_stays_off_and_comes_back_as_it_was(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path = f"servers/{server['id']}"
    answer = service.ask(f"{path}/suspend", {"reason": "unpaid"})
    assert answer["server"]["suspended"]["reason"] == "unpaid"
    assert service.finished(answer["job"]["id"])["status"] == "succeeded"
    assert status(sandbox, server) == "stopped"
    assert sandbox.config(server["vmid"])["onboot"] == 0
    for refused, body in (
        ("power", {"action": "start"}),
        ("power", {"action": "reboot"}),
        ("rebuild", {}),
    ):
        code, error = service.refused(f"{path}/{refused}", body)
        assert (code, error["code"]) == (409, "conflict")
        assert "suspended" in error["message"]
    power(service, server, "stop")
    again = service.done(f"{path}/suspend", {"reason": "abuse"})
    assert not any(step["changed"] for step in again["steps"])
    assert service.server(server["id"])["suspended"]["reason"] == "abuse"
    service.done(f"{path}/unsuspend")
    assert service.server(server["id"])["suspended"] is None
    assert status(sandbox, server) == "running"
    assert sandbox.config(server["vmid"])["onboot"] == 1
    code, error = service.refused(f"{path}/unsuspend")
    assert (code, error["code"]) == (409, "conflict")

    power(service, server, "stop")
    service.done(f"{path}/suspend", {"reason": "x"})
    service.done(f"{path}/unsuspend")
    assert status(sandbox, server) == "stopped"
    power(service, server, "start")


def test_snapshots_are_made_listed_returned_to_and_deleted(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path = f"servers/{server['id']}/snapshots"
    service.done(path, {"name": "before", "description": "as it was"})
    service.done(path, {"name": "with-ram", "with_memory": True})
    found = service.read(path)["snapshots"]
    assert [(entry["name"], entry["with_memory"]) for entry in found] == [
        ("before", False),
        ("with-ram", True),
    ]
    assert found[0]["description"] == "as it was"
    assert found[1]["parent"] == "before"

    code, error = service.refused(path, {"name": "third"})
    assert (code, error["code"]) == (409, "resource_limit_exceeded")
    code, error = service.refused(path, {"name": "before"})
    assert (code, error["code"]) == (409, "uniqueness_error")
    for name in ("current", "1st", "a b", "x", "a" * 41, "{{ 7 * 7 }}"):
        code, error = service.refused(path, {"name": name})
        assert (code, error["details"][0]["field"]) == (422, "name")
    code, error = service.refused(f"{path}/absent/rollback")
    assert (code, error["code"]) == (404, "not_found")
    code, error = service.refused(f"{path}/absent", method="DELETE")
    assert (code, error["code"]) == (404, "not_found")

    service.done(f"servers/{server['id']}", {"cpu": 3, "restart": "if_needed"}, "PATCH")
    service.done(f"{path}/before/rollback")
    config = sandbox.config(server["vmid"])
    assert (config["parent"], config["cores"]) == ("before", 3)  # what is recorded stands
    assert status(sandbox, server) == "running"
    service.done(f"{path}/with-ram", method="DELETE")
    service.done(f"{path}/before", method="DELETE")
    assert service.read(path)["snapshots"] == []


def test_a_locked_vm_is_a_clear_error(service: Service, sandbox: Sandbox, server: dict[str, Any]) -> None:
    vm = f"/vms/{server['vmid']}"
    sandbox.control.patch(vm, json={"config": {"lock": "backup"}}).raise_for_status()
    job = service.finished(service.ask(f"servers/{server['id']}/snapshots", {"name": "locked"})["job"]["id"])
    assert (job["status"], job["error"]["code"], job["error"]["retryable"]) == ("failed", "vm_locked", True)
    sandbox.control.patch(vm, json={"config": {"lock": None}}).raise_for_status()
    service.done(f"jobs/{job['id']}/retry")
    service.done(f"servers/{server['id']}/snapshots/locked", method="DELETE")


def test_a_node_that_does_not_answer_is_told_before_anything_is_queued(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    fault = {"method": "GET", "path": f"/qemu/{server['vmid']}/snapshot$", "status": 596, "count": 9}
    made = sandbox.control.post("/faults", json=fault).raise_for_status().json()
    jobs = service.read("jobs")["meta"]["pagination"]["total_entries"]
    code, error = service.refused(f"servers/{server['id']}/snapshots", {"name": "unseen"})
    assert (code, error["code"]) == (503, "node_unavailable")
    assert service.read("jobs")["meta"]["pagination"]["total_entries"] == jobs
    sandbox.control.delete(f"/faults/{made['id']}").raise_for_status()


@pytest.fixture
def sweeping(sandbox: Sandbox, tmp_path: Path) -> Iterator[Service]:
    """A service whose worker looks for drift all the time."""
    quick = {"JOTUNHEIM_SYNC_SECONDS": "0.3", "JOTUNHEIM_VMID_FIRST": "5000"}
    with Service.start(tmp_path / "state", settings=quick) as started:
        started.add_infrastructure(sandbox)
        yield started


def test_a_suspended_server_that_its_node_starts_is_stopped_again(
    sweeping: Service, sandbox: Sandbox
) -> None:
    server = sweeping.built("drifts")
    sweeping.done(f"servers/{server['id']}/suspend", {"reason": "unpaid"})
    sandbox.api.post(f"/nodes/pve1/qemu/{server['vmid']}/status/start").raise_for_status()
    wait_for(lambda: status(sandbox, server) == "running", "the start behind our back")
    wait_for(lambda: status(sandbox, server) == "stopped", "the sweep")
    jobs = wait_for(
        lambda: [
            job
            for job in sweeping.read(f"jobs?server_id={server['id']}&status=succeeded")["jobs"]
            if job["requested_by"] == "drift sweep"
        ],
        "the sweep's job",
    )
    assert {job["type"] for job in jobs} == {"server.suspend"}
    sweeping.done(f"servers/{server['id']}/unsuspend")
    assert status(sandbox, server) == "running"


def test_the_records_follow_what_happens_on_the_node(sweeping: Service, sandbox: Sandbox) -> None:
    server = sweeping.built("followed")
    sandbox.api.post(f"/nodes/pve1/qemu/{server['vmid']}/status/stop").raise_for_status()
    wait_for(lambda: sweeping.server(server["id"])["power"] == "stopped", "the sweep")
