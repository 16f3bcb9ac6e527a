"""Deleting servers: nothing of them is left, nothing of others is touched."""

import time
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30


def leftovers(sandbox: Sandbox, vmid: int) -> list[str]:
    """What a node still has of a VM."""
    volumes = [
        volume["volid"]
        for storage in ("vmstore", "local")
        for volume in sandbox.get(f"/nodes/pve1/storage/{storage}/content")
        if volume.get("vmid") == vmid
    ]
    listed = [str(vm) for vm in sandbox.control.get("/vms").json() if vm["vmid"] == vmid]
    return volumes + listed


def is_gone(service: Service, server: dict[str, Any]) -> bool:
    """Whether the API knows the server no longer."""
    return service.http.get(f"/admin/servers/{server['id']}").status_code == 404


def test_nothing_is_left_and_nothing_else_is_touched(service: Service, sandbox: Sandbox) -> None:
    other = service.built("neighbour", addresses={"ipv4": 1}, disk_bytes=5 * GIB)
    free = service.read("address-pools")["address_pools"][0]["free"]
    server = service.built("doomed", addresses={"ipv4": 2}, disk_bytes=5 * GIB, labels={"a": "b"})
    service.done(f"servers/{server['id']}/snapshots", {"name": "held"})
    before = sandbox.control.get(f"/vms/{other['vmid']}").json()
    answer = service.ask(f"servers/{server['id']}", {"purge": True}, "DELETE")
    job = service.finished(answer["job"]["id"])
    assert job["status"] == "succeeded", job
    assert job["type"] == "server.delete"
    assert {"type": "server", "id": server["id"]} in job["resources"]
    assert is_gone(service, server)
    assert leftovers(sandbox, server["vmid"]) == []
    assert service.read("address-pools")["address_pools"][0]["free"] == free
    after = sandbox.control.get(f"/vms/{other['vmid']}").json()
    assert (after["config"], after["disks"]) == (before["config"], before["disks"])
    listed = service.read(f"jobs?server_id={server['id']}")["jobs"]
    assert job["id"] in {entry["id"] for entry in listed}
    assert service.built("doomed", start=False)["vmid"] == server["vmid"]  # name and VMID are free again


def test_a_protected_server_refuses_until_its_protection_is_removed(service: Service) -> None:
    server = service.built("guarded", protected=True, start=False)
    path = f"servers/{server['id']}"
    status, error = service.refused(path, method="DELETE")
    assert (status, error["code"]) == (409, "protected")
    assert service.ask(f"{path}/protection", {"protected": False})["server"]["protected"] is False
    service.done(path, method="DELETE")
    assert is_gone(service, server)


def test_a_delayed_deletion_can_be_cancelled_and_locks_nothing(service: Service) -> None:
    server = service.built("delayed", start=False)
    path = f"servers/{server['id']}"
    job = service.ask(path, {"delay_seconds": 3600}, "DELETE")["job"]
    assert (job["status"], job["run_after"] is not None) == ("queued", True)
    service.done(f"{path}/power", {"action": "start"})
    assert service.server(server["id"])["job_id"] == job["id"]
    cancelled = service.ask(f"jobs/{job['id']}/cancel")["job"]
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)
    status, error = service.refused(f"jobs/{job['id']}/cancel")
    assert (status, error["code"]) == (409, "conflict")
    later = service.ask(path, {"delay_seconds": 1}, "DELETE")["job"]
    assert service.finished(later["id"])["status"] == "succeeded"
    assert is_gone(service, server)


def test_a_protection_that_comes_during_the_delay_holds(service: Service) -> None:
    server = service.built("late-guard", start=False)
    job = service.ask(f"servers/{server['id']}", {"delay_seconds": 1}, "DELETE")["job"]
    service.ask(f"servers/{server['id']}/protection", {"protected": True})
    ended = service.finished(job["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "protected")
    assert service.server(server["id"])["status"] == "ready"


def test_an_error_is_not_an_absence_and_a_failed_deletion_can_be_repeated(
    service: Service, sandbox: Sandbox
) -> None:
    server = service.built("stubborn", addresses={"ipv4": 1}, start=False)
    for status in (500, 595, 403):
        fault = {"method": "GET", "path": f"/qemu/{server['vmid']}/config$", "status": status, "count": 9}
        made = sandbox.control.post("/faults", json=fault).raise_for_status().json()
        job = service.finished(service.ask(f"servers/{server['id']}", method="DELETE")["job"]["id"])
        sandbox.control.delete(f"/faults/{made['id']}").raise_for_status()
        assert job["status"] == "failed", status
        after = service.server(server["id"])
        assert (after["status"], len(after["addresses"])) == ("delete_failed", 1)
        assert leftovers(sandbox, server["vmid"])
    service.done(f"jobs/{job['id']}/retry")
    assert is_gone(service, server)
    assert leftovers(sandbox, server["vmid"]) == []


def test_a_vm_that_is_not_ours_is_left_alone(service: Service, sandbox: Sandbox) -> None:
    server = service.built("replaced", start=False)
    vm = f"/nodes/pve1/qemu/{server['vmid']}"
    sandbox.api.put(
        f"{vm}/config", data={"description": "theirs", "smbios1": "uuid=11111111-1111-4111-8111-111111111111"}
    ).raise_for_status()
    before = sandbox.config(server["vmid"])
    job = service.finished(service.ask(f"servers/{server['id']}", method="DELETE")["job"]["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "vm_not_ours")
    assert sandbox.config(server["vmid"]) == before
    sandbox.api.delete(vm).raise_for_status()
    wait_for(lambda: not leftovers(sandbox, server["vmid"]), "the foreign VM's end")
    service.done(f"jobs/{job['id']}/retry")
    assert is_gone(service, server)


def test_a_failed_build_can_be_deleted(service: Service, sandbox: Sandbox) -> None:
    fault = {"method": "POST", "path": "/clone$", "status": 500, "message": "no space left", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    created = service.create_server("stillborn", addresses={"ipv4": 1})
    assert service.finished(created["job"]["id"])["status"] == "failed"
    service.done(f"servers/{created['server']['id']}", method="DELETE")
    assert is_gone(service, created["server"])


def test_two_deletions_at_once_are_one(service: Service) -> None:
    server = service.built("twice", start=False)
    first = service.ask(f"servers/{server['id']}", method="DELETE")["job"]
    status, error = service.refused(f"servers/{server['id']}", method="DELETE")
    assert (status, error["code"]) == (409, "locked")
    assert error["details"] == [{"field": "job_id", "message": first["id"]}]
    assert service.finished(first["id"])["status"] == "succeeded"


def test_backups_stay_unless_they_shall_go(service: Service, sandbox: Sandbox) -> None:
    def backed_up(name: str) -> dict[str, Any]:
        server = service.built(name, start=False)
        sandbox.api.post(
            "/nodes/pve1/vzdump", data={"vmid": server["vmid"], "storage": "local"}
        ).raise_for_status()
        wait_for(lambda: backups(server["vmid"]), "the backup")
        wait_for(lambda: "lock" not in sandbox.config(server["vmid"]), "the end of the backup")
        return server

    def backups(vmid: int) -> list[str]:
        content = sandbox.get("/nodes/pve1/storage/local/content", content="backup")
        return [volume["volid"] for volume in content if volume["vmid"] == vmid]

    kept = backed_up("keeps-backups")
    service.done(f"servers/{kept['id']}", method="DELETE")
    assert len(backups(kept["vmid"])) == 1
    # The next server of this VMID deletes its own backups, not those of the one before.
    mine = backed_up("drops-backups")
    assert mine["vmid"] == kept["vmid"]
    job = service.done(f"servers/{mine['id']}", {"backups": "delete"}, "DELETE")
    assert len(job["result"]["backups_deleted"]) == 1
    assert backups(kept["vmid"]) == job["result"]["backups_kept"]
    assert len(backups(kept["vmid"])) == 1
    sandbox.api.delete(f"/nodes/pve1/storage/local/content/{backups(kept['vmid'])[0]}").raise_for_status()


@pytest.fixture(scope="module")
def mortal(service: Service) -> dict[str, Any]:
    """A server whose time is almost over."""
    return service.built("mortal", expires_in_seconds=3600, start=False)


def test_a_server_goes_when_its_time_is_over_unless_it_is_extended(
    service: Service, sandbox: Sandbox, mortal: dict[str, Any]
) -> None:
    path = f"servers/{mortal['id']}"
    assert mortal["expires_at"] is not None
    assert service.read("servers?sort=expires_at")["servers"]
    extended = service.ask(path, {"expires_in_seconds": 7200}, "PATCH")["server"]
    assert extended["expires_at"] > mortal["expires_at"]
    service.ask(path, {"expires_in_seconds": 1, "protected": True}, "PATCH")
    time.sleep(2)
    assert service.server(mortal["id"])["status"] == "ready"
    service.ask(f"{path}/protection", {"protected": False})
    wait_for(lambda: is_gone(service, mortal), "its end")
    assert leftovers(sandbox, mortal["vmid"]) == []
    job = service.read(f"jobs?server_id={mortal['id']}")["jobs"][0]
    assert (job["type"], job["requested_by"], job["status"]) == ("server.delete", "expiry", "succeeded")


def test_a_worker_killed_in_the_middle_of_a_deletion_loses_nothing(
    fresh_service: Service, sandbox: Sandbox
) -> None:
    worker = fresh_service.start_worker(JOTUNHEIM_VMID_FIRST="6000")
    fresh_service.add_infrastructure(sandbox)
    server = fresh_service.built("survivor")
    fault = {"method": "DELETE", "path": "/qemu/", "silent": True, "when": "after", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    job = fresh_service.ask(f"servers/{server['id']}", method="DELETE")["job"]
    wait_for(lambda: not leftovers(sandbox, server["vmid"]), "the deletion on the node")
    fresh_service.kill_worker(worker)
    fresh_service.start_worker()
    assert fresh_service.finished(job["id"])["status"] == "succeeded"
    assert is_gone(fresh_service, server)
