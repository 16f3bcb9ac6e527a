"""The control endpoint: looking in, setting, resetting, and refusing what it does not know."""

from typing import Any

import pytest

from tests.sandbox.requests import VM, Pve


def test_vms_are_listed_with_their_disks(pve: Pve) -> None:
    pve.clone(301, full=0, name="web")
    (template, clone) = sorted(pve.control.get("/vms").json(), key=lambda vm: -vm["vmid"])
    assert (template["vmid"], template["template"], template["lock"]) == (9000, True, None)
    assert (clone["name"], clone["status"], clone["config"]["cores"]) == ("web", "stopped", 1)
    assert {disk["parent"] for disk in clone["disks"]} == {None, "vmstore:9000/base-9000-disk-0.qcow2"}


def test_fields_of_a_vm_can_be_set(pve: Pve) -> None:
    pve.clone(302)
    change = {"config": {"memory": 2048, "tags": None}, "status": "running", "lock": "backup", "agent": False}
    shown = pve.control.patch("/vms/302", json=change).json()
    assert (shown["status"], shown["lock"], shown["agent_answers"]) == ("running", "backup", False)
    assert pve.config(302)["memory"] == "2048"
    assert "tags" not in pve.config(302)
    assert pve.message("PUT", f"{VM}/302/config", cores=2) == (500, "VM is locked (backup)")
    assert pve.message("POST", f"{VM}/302/agent/ping") == (500, "QEMU guest agent is not running")


def test_counters_begin_at_zero_whenever_the_vm_starts_and_can_be_set(pve: Pve) -> None:
    pve.clone(303)
    assert pve.control.patch("/vms/303", json={"counters": {"netin": 5}}).status_code == 409
    pve.task("POST", f"{VM}/303/status/start")
    pve.control.patch("/vms/303", json={"counters": {"netin": 5_000_000, "netout": 70}})
    first = pve.ok("GET", f"{VM}/303/status/current")
    assert (first["netin"], first["netout"]) == (5_000_000, 70)
    assert first["nics"]["tap303i0"] == {"netin": 5_000_000, "netout": 70}
    assert next(vm for vm in pve.ok("GET", VM) if vm["vmid"] == 303)["netin"] == 5_000_000
    pve.task("POST", f"{VM}/303/status/stop")
    stopped = pve.ok("GET", f"{VM}/303/status/current")
    assert (stopped["netin"], stopped["uptime"], "pid" in stopped) == (0, 0, False)
    pve.task("POST", f"{VM}/303/status/start")
    again = pve.ok("GET", f"{VM}/303/status/current")
    assert again["netin"] < 5_000_000
    assert again["pid"] != first["pid"]


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PATCH", "/vms/9000", {"memory": 1}, "memory"),
        ("PATCH", "/vms/9000", {"status": "dead"}, "status"),
        ("PATCH", "/vms/9000", {"counters": {"netin": -1}}, "counters.netin"),
        ("PATCH", "/settings", {"timescale": 1}, "timescale"),
        ("PATCH", "/settings", {"durations": {"clown": 1}}, "durations.clown"),
        ("PATCH", "/settings", {"rates": {"clone": 0}}, "rates.clone"),
        ("POST", "/faults", {"path": "x", "stauts": 500}, "stauts"),
        ("POST", "/faults", {"path": "(", "status": 500}, "path"),
        ("POST", "/faults", {"status": 500}, "which requests"),
        ("POST", "/faults", {"path": "x"}, "what goes wrong"),
        ("PATCH", "/storages/vmstore", {"size": 1}, "size"),
        ("PATCH", "/nodes/pve1", {"offline": True}, "offline"),
        ("PUT", "/state", {"nodes": {}, "storages": {}, "extra": 1}, "extra"),
        ("POST", "/reset", {"node": 2}, "node"),
    ],
)
def test_an_unknown_or_wrong_field_is_named(
    pve: Pve, method: str, path: str, body: dict[str, Any], named: str
) -> None:
    answer = pve.control.request(method, path, json=body)
    assert (answer.status_code, named in answer.json()["error"]) == (400, True)


def test_the_request_log_masks_secrets(pve: Pve) -> None:
    pve.clone(303)
    pve.ok("PUT", f"{VM}/303/config", cipassword="sesame-open", ciuser="web")
    logged = pve.control.get("/requests").json()
    last = logged["requests"][-1]
    assert (last["method"], last["path"], last["status"]) == ("PUT", f"{VM}/303/config", 200)
    assert last["params"] == {"cipassword": "**********", "ciuser": "web"}
    assert (last["user"], last["index"], last["duration_ms"] > 0) == (
        "root@pam!jotunheim",
        logged["count"],
        True,
    )
    assert "sesame-open" not in str(logged)


def test_the_request_log_can_be_cleared_and_read_on(pve: Pve) -> None:
    pve.control.delete("/requests")
    pve.ok("GET", "/version")
    pve.ok("GET", "/nodes")
    assert [r["path"] for r in pve.control.get("/requests", params={"since": 1}).json()["requests"]] == [
        "/nodes"
    ]


def test_a_dumped_state_can_be_loaded_again(pve: Pve) -> None:
    pve.clone(304, name="kept")
    dumped = pve.control.get("/state").json()
    config = pve.config(304)
    pve.control.post("/reset").raise_for_status()
    assert pve.send("GET", f"{VM}/304/config").status_code == 500
    assert pve.control.put("/state", json=dumped).json() == {"vms": 2}
    assert pve.config(304) == config
    assert pve.control.get("/state").json() == dumped


def test_a_full_storage_fails_a_full_clone_and_leaves_nothing(pve: Pve) -> None:
    pve.control.patch("/storages/vmstore", json={"total": 1_400_000_000}).raise_for_status()
    status = pve.task("POST", f"{VM}/9000/clone", newid=305, full=1)
    assert status.startswith("clone failed: copy failed: command '/usr/bin/qemu-img convert")
    assert [vm["vmid"] for vm in pve.control.get("/vms").json()] == [9000]
    assert pve.ok("GET", "/nodes/pve1/storage/vmstore/content", vmid=305) == []


def test_a_node_that_is_offline_answers_595_with_an_empty_body(pve: Pve) -> None:
    pve.control.patch("/nodes/pve1", json={"online": False}).raise_for_status()
    answer = pve.send("GET", f"{VM}/9000/config")
    assert (answer.status_code, answer.reason_phrase, answer.content) == (595, "No route to host", b"")
    assert pve.ok("GET", "/nodes")[0]["status"] == "offline"


def test_a_revoked_token_is_refused(pve: Pve) -> None:
    created = pve.ok("POST", "/access/users/root@pam/token/second", privsep=0)
    header = {"Authorization": f"PVEAPIToken=root@pam!second={created['value']}"}
    assert pve.sandbox.api.get("/version", headers=header).status_code == 200
    pve.control.delete("/tokens/root@pam!second").raise_for_status()
    refused = pve.sandbox.api.get("/version", headers=header)
    assert (refused.status_code, refused.content) == (401, b"")


def test_durations_can_be_changed_while_it_runs(pve: Pve) -> None:
    pve.clone(306)
    settings = {"time_scale": 1, "durations": {"start": 0.3, "boot": 30}}
    pve.control.patch("/settings", json=settings).raise_for_status()
    upid = pve.ok("POST", f"{VM}/306/status/start")
    assert pve.ok("GET", f"/nodes/pve1/tasks/{upid}/status")["status"] == "running"
    assert pve.ended(upid) == "OK"
    pve.control.patch("/settings", json={"durations": {"start": 1.0, "boot": 12.0}}).raise_for_status()
