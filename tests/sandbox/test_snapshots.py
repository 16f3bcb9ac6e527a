"""Snapshots as PVE keeps them: what they hold, what a rollback brings back, who is kept out meanwhile."""

import pytest

from tests.sandbox.requests import VM, Pve


@pytest.fixture
def vm(pve: Pve) -> str:
    """The path of a full clone, which stands still."""
    pve.clone(600, full=1)
    return f"{VM}/600"


def take(pve: Pve, vm: str, name: str, **params: object) -> None:
    """Take a snapshot."""
    assert pve.task("POST", f"{vm}/snapshot", snapname=name, **params) == "OK"


def test_a_snapshot_holds_the_configuration_with_its_own_description(pve: Pve, vm: str) -> None:
    pve.ok("PUT", f"{vm}/config", description="of the VM", cores=2)
    take(pve, vm, "plain")
    take(pve, vm, "told", description="before the upgrade\n")
    plain = pve.ok("GET", f"{vm}/snapshot/plain/config")
    assert (plain["cores"], type(plain["snaptime"]), "description" in plain) == (2, int, False)
    assert {"parent", "digest", "lock", "vmstate", "snapstate"}.isdisjoint(plain)
    told = pve.ok("GET", f"{vm}/snapshot/told/config")
    assert (told["description"], told["parent"]) == ("before the upgrade", "plain")
    listed = {item["name"]: item for item in pve.ok("GET", f"{vm}/snapshot")}
    assert set(listed) == {"plain", "told", "current"}
    assert (listed["plain"]["description"], listed["plain"]["vmstate"]) == ("", 0)
    assert (listed["current"]["parent"], listed["current"]["running"]) == ("told", 0)
    assert "snaptime" not in listed["current"]


def test_a_rollback_keeps_description_and_unused_disks_and_makes_a_new_generation(pve: Pve, vm: str) -> None:
    before = pve.config(600)
    take(pve, vm, "clean")
    pve.ok("PUT", f"{vm}/config", description="later", cores=2, scsi1="vmstore:1")
    assert pve.task("POST", f"{vm}/snapshot/clean/rollback") == "OK"
    after = pve.config(600)
    assert (after["description"], after["cores"], after["parent"]) == ("later", 1, "clean")
    assert after["unused0"] == "vmstore:600/vm-600-disk-1.qcow2"
    assert after["smbios1"] == before["smbios1"]
    assert after["vmgenid"] != before["vmgenid"]


def test_a_disk_that_only_a_deleted_snapshot_held_comes_back_as_unused(pve: Pve, vm: str) -> None:
    pve.ok("PUT", f"{vm}/config", scsi1="vmstore:1")
    take(pve, vm, "two")
    pve.ok("PUT", f"{vm}/config", delete="scsi1")
    status, message = pve.message("PUT", f"{vm}/config", delete="unused0")
    volid = "vmstore:600/vm-600-disk-1.qcow2"
    assert (status, message) == (500, f"unable to delete '{volid}' - volume is still in use (snapshot?)")
    assert pve.task("DELETE", f"{vm}/snapshot/two") == "OK"
    assert pve.config(600)["unused0"] == volid
    pve.ok("PUT", f"{vm}/config", delete="unused0")


def test_the_snapshots_below_a_deleted_one_move_up(pve: Pve, vm: str) -> None:
    for name in ("one", "two", "three"):
        take(pve, vm, name)
    assert pve.task("DELETE", f"{vm}/snapshot/two") == "OK"
    assert pve.ok("GET", f"{vm}/snapshot/three/config")["parent"] == "one"
    assert pve.task("DELETE", f"{vm}/snapshot/three") == "OK"
    assert pve.config(600)["parent"] == "one"
    assert pve.task("DELETE", f"{vm}/snapshot/one") == "OK"
    assert "parent" not in pve.config(600)


@pytest.mark.parametrize("action", ["delete", "rollback", "config"])
def test_what_does_not_exist(pve: Pve, vm: str, action: str) -> None:
    why = "snapshot 'nosuch' does not exist"
    match action:
        case "delete":
            assert pve.task("DELETE", f"{vm}/snapshot/nosuch") == why
        case "rollback":
            assert pve.task("POST", f"{vm}/snapshot/nosuch/rollback") == why
        case _:
            assert pve.message("PUT", f"{vm}/snapshot/nosuch/config", description="x") == (500, why)
            assert pve.ok("PUT", f"{VM}/777/snapshot/nosuch/config") is None  # PVE looks at nothing then


def test_a_name_is_taken_once_and_some_never(pve: Pve, vm: str) -> None:
    take(pve, vm, "one")
    assert pve.task("POST", f"{vm}/snapshot", snapname="one") == "snapshot name 'one' already used"
    assert "lock" not in pve.config(600)
    for name in ("current", "pending", "Pending"):
        why = f"unable to use snapshot name '{name.lower()}' (reserved name)"
        assert pve.message("POST", f"{vm}/snapshot", snapname=name) == (500, why)
    too_long = pve.send("POST", f"{vm}/snapshot", snapname="x" * 41).json()["errors"]
    assert too_long == {"snapname": "value may only be 40 characters long"}


def test_a_raw_disk_has_no_snapshots_and_a_template_takes_none(pve: Pve, vm: str) -> None:
    pve.ok("PUT", f"{vm}/config", scsi1="vmstore:1,format=raw")
    assert pve.task("POST", f"{vm}/snapshot", snapname="one") == "snapshot feature is not available"
    assert pve.ok("GET", f"{vm}/feature", feature="snapshot")["hasFeature"] == 0
    why = "you can't take a snapshot if it's a template"
    assert pve.task("POST", f"{VM}/9000/snapshot", snapname="one") == why


def test_a_snapshot_under_way_refuses_others_at_once(pve: Pve, vm: str) -> None:
    pve.scale(1)
    upid = pve.ok("POST", f"{vm}/snapshot", snapname="slow")
    while "lock" not in pve.config(600):
        pass
    assert pve.message("PUT", f"{vm}/config", cores=2) == (500, "VM is locked (snapshot)")
    assert pve.task("POST", f"{vm}/status/start") == "VM is locked (snapshot)"
    assert pve.task("DELETE", f"{vm}/snapshot/slow") == "VM is locked (snapshot)"
    slow = next(item for item in pve.ok("GET", f"{vm}/snapshot") if item["name"] == "slow")
    assert slow["snapstate"] == "prepare"
    assert pve.ended(upid) == "OK"
    assert "snapstate" not in pve.ok("GET", f"{vm}/snapshot")[0]


def test_a_snapshot_with_memory_has_a_volume_and_what_ran(pve: Pve, vm: str) -> None:
    take(pve, vm, "stopped", vmstate=1)
    assert pve.task("POST", f"{vm}/status/start") == "OK"
    take(pve, vm, "running", vmstate=1)
    listed = {item["name"]: item for item in pve.ok("GET", f"{vm}/snapshot")}
    assert (listed["stopped"]["vmstate"], listed["running"]["vmstate"]) == (0, 1)
    config = pve.ok("GET", f"{vm}/snapshot/running/config")
    assert config["vmstate"] == "vmstore:600/vm-600-state-running.raw"
    assert {"runningmachine", "runningcpu"} <= set(config)
    assert pve.task("POST", f"{vm}/status/stop") == "OK"
    assert pve.task("POST", f"{vm}/snapshot/running/rollback") == "OK"
    assert pve.ok("GET", f"{vm}/status/current")["status"] == "running"
    assert {"vmstate", "runningmachine", "runningcpu", "lock"}.isdisjoint(pve.config(600))
    assert pve.task("DELETE", f"{vm}/snapshot/running") == "OK"
    assert len(pve.ok("GET", "/nodes/pve1/storage/vmstore/content", vmid=600)) == 2


def test_a_rollback_may_start_the_vm_in_a_task_of_its_own(pve: Pve, vm: str) -> None:
    take(pve, vm, "one")
    assert pve.task("POST", f"{vm}/snapshot/one/rollback", start=1) == "OK"
    started = pve.ok("GET", "/nodes/pve1/tasks", source="all", typefilter="qmstart", vmid=600)
    assert pve.ended(started[0]["upid"]) == "OK"
    assert pve.ok("GET", f"{vm}/status/current")["status"] == "running"
    assert pve.task("POST", f"{vm}/snapshot/one/rollback") == "OK"
    assert pve.ok("GET", f"{vm}/status/current")["status"] == "stopped"


def test_a_clone_of_a_snapshot_is_of_that_time_and_never_linked(pve: Pve, vm: str) -> None:
    take(pve, vm, "then", description="as it was")
    pve.ok("PUT", f"{vm}/config", cores=2, name="renamed")
    why = "Linked clone feature is not supported for drive 'scsi0'"
    assert pve.message("POST", f"{vm}/clone", newid=601, snapname="then", full=0) == (500, why)
    assert pve.task("POST", f"{vm}/clone", newid=601, snapname="then") == "OK"
    clone = pve.config(601)
    assert (clone["cores"], clone["name"], clone["description"]) == (
        1,
        "Copy-of-VM-Copy-of-VM-debian12-cloud",
        "as it was",
    )
    assert {"parent", "snaptime", "vmstate"}.isdisjoint(clone)
