"""Rebuilding: a new system disk under the same identity, and the old one until the new one is good."""

from typing import Any

import pytest

from tests.end_to_end.test_delete import leftovers
from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 2**30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, Any]:
    """A running server."""
    return service.built("phoenix", disk_bytes=6 * GIB, addresses={"ipv4": 1})


def test_a_rebuilt_server_has_a_new_disk_and_the_same_identity(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    before = sandbox.config(server["vmid"])
    vms = sandbox.vmids()
    answer = service.ask(f"servers/{server['id']}/rebuild", {"ssh_keys": [KEY]})
    assert len(answer["root_password"]) >= 20
    job = service.finished(answer["job"]["id"])
    assert job["status"] == "succeeded", job
    assert job["result"] == {"snapshots_destroyed": [], "backups": "kept"}
    after = sandbox.config(server["vmid"])
    assert after["scsi0"].split(",")[0] != before["scsi0"].split(",")[0]
    for key in ("net0", "name", "smbios1", "ipconfig0", "boot"):
        assert after[key] == before[key], key
    assert not [key for key in after if key.startswith("unused")]
    assert sandbox.vmids() == vms
    disks = [volume for volume in leftovers(sandbox, server["vmid"]) if "disk" in volume.split(",")[0]]
    assert len([disk for disk in disks if disk.startswith("vmstore:")]) == 1
    now = service.server(server["id"])
    assert (now["status"], now["power"], now["disk_bytes"]) == ("ready", "running", 6 * GIB)
    assert (now["ssh_keys"], now["addresses"], now["vmid"]) == ([KEY], server["addresses"], server["vmid"])


def test_snapshots_are_only_destroyed_when_that_is_said(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    path = f"servers/{server['id']}"
    service.done(f"{path}/snapshots", {"name": "first"})
    service.done(f"{path}/snapshots", {"name": "second"})
    before = sandbox.config(server["vmid"])
    status, error = service.refused(f"{path}/rebuild")
    assert (status, error["code"]) == (409, "conflict")
    assert error["details"][0]["field"] == "destroy_snapshots"
    assert sandbox.config(server["vmid"]) == before
    job = service.done(f"{path}/rebuild", {"destroy_snapshots": True, "password": "a new password"})
    assert sorted(job["result"]["snapshots_destroyed"]) == ["first", "second"]
    assert service.read(f"{path}/snapshots")["snapshots"] == []


def test_a_clone_that_fails_leaves_the_server_running_from_its_old_disk(
    service: Service, sandbox: Sandbox, server: dict[str, Any]
) -> None:
    before = sandbox.control.get(f"/vms/{server['vmid']}").json()
    fault = {"method": "POST", "path": "/clone$", "task_fails": "no space left on device", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    job = service.finished(service.ask(f"servers/{server['id']}/rebuild")["job"]["id"])
    assert job["status"] == "failed"
    assert "old disk" in f"{job['error']['message']} {job['error']['hint']}"
    now = service.server(server["id"])
    assert (now["status"], now["power"]) == ("ready", "running")
    after = sandbox.control.get(f"/vms/{server['vmid']}").json()
    assert (after["config"], after["status"]) == (before["config"], "running")
    service.done(f"jobs/{job['id']}/retry")
    assert sandbox.config(server["vmid"])["scsi0"] != before["config"]["scsi0"]


def test_a_worker_killed_in_the_middle_continues(fresh_service: Service, sandbox: Sandbox) -> None:
    worker = fresh_service.start_worker(JOTUNHEIM_VMID_FIRST="7000")
    fresh_service.add_infrastructure(sandbox)
    server = fresh_service.built("reborn")
    old = sandbox.config(server["vmid"])["scsi0"]
    silence = {"method": "POST", "path": "/move_disk$", "silent": True, "when": "after", "count": 1}
    id_ = sandbox.control.post("/faults", json=silence).raise_for_status().json()["id"]
    job = fresh_service.ask(f"servers/{server['id']}/rebuild")["job"]
    wait_for(
        lambda: any(f["silenced"] for f in sandbox.control.get("/faults").json() if f["id"] == id_),
        "the swap",
    )
    fresh_service.kill_worker(worker)
    fresh_service.start_worker()
    assert fresh_service.finished(job["id"])["status"] == "succeeded"
    config = sandbox.config(server["vmid"])
    assert config["scsi0"] != old
    assert "unused0" not in config
    fresh_service.done(f"servers/{server['id']}", method="DELETE")
    assert leftovers(sandbox, server["vmid"]) == []
