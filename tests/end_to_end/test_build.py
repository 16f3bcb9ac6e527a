"""One API call becomes a running VM."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import httpx

from tests.support.processes import wait_for
from tests.support.sandbox import Sandbox
from tests.support.service import Service

GIB = 1024**3
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u"


def test_a_server_is_built_as_it_was_asked_for(service: Service, sandbox: Sandbox) -> None:
    created = service.create_server(
        "web-1",
        hostname="web-1.example.com",
        cpu=2,
        memory_bytes=2 * GIB,
        disk_bytes=5 * GIB,
        addresses={"ipv4": 1, "ipv6": 0},
        ssh_keys=[f"{KEY} ops@example.com"],
        labels={"env": "ci"},
        tags=["web", "blue"],
        external_id="order-7",
        limits={"rate_bytes_per_second": 10 * 1024**2},
    )
    assert created["server"]["status"] == "building"
    assert created["root_password"] is None
    assert created["server"]["job_id"] == created["job"]["id"]

    job = service.finished(created["job"]["id"])
    assert job["status"] == "succeeded", job
    assert job["error"] is None
    assert job["progress"] == 100
    assert [step["status"] for step in job["steps"]] == ["ok"] * 5
    assert {"type": "server", "id": created["server"]["id"]} in job["resources"]

    server = service.read(f"servers/{created['server']['id']}")["server"]
    assert (server["status"], server["power"], server["job_id"]) == ("ready", "running", None)
    assert server["disk_bytes"] == 5 * GIB
    [address] = server["addresses"]

    config = sandbox.config(server["vmid"])
    assert (config["name"], config["cores"], config["memory"]) == ("web-1", 2, "2048")
    assert config["searchdomain"] == "example.com"
    assert config["smbios1"] == f"uuid={server['id']}"
    assert config["description"].startswith(f"jotunheim:server={server['id']}")
    assert config["ipconfig0"] == f"ip={address['address']}/24,gw=10.99.1.1"
    assert config["nameserver"] == "10.99.1.2"
    assert unquote(config["sshkeys"]).strip() == f"{KEY} ops@example.com"
    assert config["ciuser"] == "debian"
    assert "size=5G" in config["scsi0"]
    assert set(config["tags"].split(";")) == {"web", "blue"}
    assert "rate=10" in config["net0"]
    assert "lock" not in config
    assert sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"] == "running"


def test_every_upid_of_a_job_is_a_task_of_the_node_that_ended_well(
    service: Service, sandbox: Sandbox
) -> None:
    created = service.create_server("upids", disk_bytes=3 * GIB)
    job = service.finished(created["job"]["id"])
    assert [upid.split(":")[5] for upid in job["upids"]] == ["qmclone", "resize", "qmstart"]
    by_step = [[upid.split(":")[5] for upid in step["upids"]] for step in job["steps"]]
    assert by_step == [["qmclone"], ["resize"], [], ["qmstart"], []]
    assert [upid for step in job["steps"] for upid in step["upids"]] == job["upids"]
    for upid in job["upids"]:
        assert sandbox.get(f"/nodes/pve1/tasks/{upid}/status")["exitstatus"] == "OK"


def test_a_build_needs_at_most_twelve_requests_besides_polls(service: Service, sandbox: Sandbox) -> None:
    # Eight make the VM. Proxmox VE's firewall has no call that takes more than one thing, so four more keep the server to
    # its address: rules that the template may have, the set, its member, the options.
    before = sandbox.requests_logged()
    service.built("twelve", disk_bytes=3 * GIB, addresses={"ipv4": 1})
    # A node that another test has left without a good token is asked again and again whether it has one.
    sent = [e for e in sandbox.request_log(before) if "/tasks/" not in e["path"] and e["path"] != "/nodes"]
    assert len(sent) <= 12, [(request["method"], request["path"]) for request in sent]
    assert len([entry for entry in sent if "/firewall/" in entry["path"]]) == 4


def test_without_a_start_the_vm_stays_off(service: Service, sandbox: Sandbox) -> None:
    server = service.built("cold", start=False)
    assert server["power"] == "stopped"
    assert sandbox.get(f"/nodes/pve1/qemu/{server['vmid']}/status/current")["status"] == "stopped"


def test_without_keys_and_password_one_is_generated_and_reaches_cloud_init(
    service: Service, sandbox: Sandbox
) -> None:
    created = service.create_server("generated")
    assert len(created["root_password"]) >= 20
    assert service.finished(created["job"]["id"])["status"] == "succeeded"
    assert sandbox.config(created["server"]["vmid"])["cipassword"] == "**********"
    assert "root_password" not in service.read(f"servers/{created['server']['id']}")["server"]


def test_without_addresses_the_guest_asks_dhcp(service: Service, sandbox: Sandbox) -> None:
    server = service.built("dhcp")
    assert server["addresses"] == []
    assert sandbox.config(server["vmid"])["ipconfig0"] == "ip=dhcp"


def test_where_disks_cannot_be_linked_they_are_copied(service: Service, sandbox: Sandbox) -> None:
    refusal = "Linked clone feature is not supported for drive 'scsi0'"
    fault = {"method": "POST", "path": "/clone$", "status": 500, "message": refusal, "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    server = service.built("copied", start=False)
    assert "base-9000" not in sandbox.config(server["vmid"])["scsi0"]


def test_builds_at_once_share_neither_vmid_nor_address(service: Service, sandbox: Sandbox) -> None:
    barrier = threading.Barrier(12)

    def create(number: int) -> dict[str, Any]:
        barrier.wait()
        return service.create_server(f"crowd-{number}", addresses={"ipv4": 2})

    with ThreadPoolExecutor(12) as pool:
        created = list(pool.map(create, range(12)))
    vmids = [answer["server"]["vmid"] for answer in created]
    addresses = [entry["address"] for answer in created for entry in answer["server"]["addresses"]]
    assert len(set(vmids)) == 12
    assert len(set(addresses)) == 24
    jobs = [service.finished(answer["job"]["id"], seconds=90) for answer in created]
    assert {job["status"] for job in jobs} == {"succeeded"}, [job["error"] for job in jobs]
    for answer in created:
        config = sandbox.config(answer["server"]["vmid"])
        assert config["smbios1"] == f"uuid={answer['server']['id']}"


def test_a_vmid_that_the_node_uses_for_something_else_is_left_alone(
    service: Service, sandbox: Sandbox
) -> None:
    created = service.create_server("first-choice", start=False)
    taken = service.finished(created["job"]["id"]) and created["server"]["vmid"] + 1
    sandbox.api.post(
        "/nodes/pve1/qemu", data={"vmid": taken, "name": "foreign", "memory": 512}
    ).raise_for_status()
    wait_for(lambda: "lock" not in sandbox.config(taken), "the foreign VM")
    before = sandbox.config(taken)
    server = service.built("second-choice", start=False)
    assert server["vmid"] not in (taken, created["server"]["vmid"])
    assert sandbox.config(taken) == before
    assert sandbox.config(server["vmid"])["name"] == "second-choice"


def test_events_come_as_a_list_and_as_a_stream_that_resumes(service: Service) -> None:
    created = service.create_server("streamed")
    path = f"/admin/jobs/{created['job']['id']}/events"
    streamed = _stream(service.http, path, {})
    types = [event["type"] for event in streamed]
    assert types[:2] == ["job.queued", "job.started"]
    assert types[-1] == "job.finished"
    assert {"step.started", "step.finished", "task.started"} <= set(types)

    listed = service.read(path.removeprefix("/admin/"))
    assert listed["complete"] is True
    assert listed["events"] == streamed
    assert listed["next_after"] == streamed[-1]["seq"]
    cursor = streamed[3]["seq"]
    assert service.read(f"{path.removeprefix('/admin/')}?after={cursor}")["events"] == streamed[4:]
    assert _stream(service.http, path, {"Last-Event-ID": str(cursor)}) == streamed[4:]


def _stream(http: httpx.Client, path: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """The events of a stream, which must end by itself."""
    with http.stream("GET", path, headers={"Accept": "text/event-stream", **headers}, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [
            json.loads(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line.startswith("data: ")
        ]
