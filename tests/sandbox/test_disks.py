"""Disks as PVE treats them: cloning, moving, handing over, resizing, and who refuses what."""

import pytest

from tests.sandbox.requests import VM, Pve


@pytest.fixture
def vm(pve: Pve) -> str:
    """The path of a full clone, which stands still; there is a second storage for images."""
    state = pve.control.get("/state").json()
    state["storages"]["other"] = {
        "name": "other",
        "path": "/srv/other",
        "content": ["images"],
        "total": 10 * 1024**3,
    }
    pve.control.put("/state", json=state).raise_for_status()
    pve.clone(700, full=1)
    return f"{VM}/700"


def test_a_linked_clone_cannot_be_cloned_linked(pve: Pve) -> None:
    pve.clone(701)
    why = "Linked clone feature is not supported for drive 'scsi0'"
    assert pve.message("POST", f"{VM}/701/clone", newid=702, full=0) == (500, why)
    assert pve.ok("GET", f"{VM}/701/feature", feature="clone")["hasFeature"] == 0
    assert pve.task("POST", f"{VM}/701/template") == "OK"
    assert pve.ok("GET", f"{VM}/701/feature", feature="clone")["hasFeature"] == 1
    assert pve.task("POST", f"{VM}/701/clone", newid=702, full=0) == "OK"


def test_a_clone_is_checked_in_pves_order(pve: Pve, vm: str) -> None:
    wrong = {
        "newid": 700,
        "pool": "nosuch",
        "target": "nosuch",
        "storage": "local",
        "full": 0,
        "format": "raw",
    }
    missing = "unable to find configuration file for VM 777 on node 'pve1'"
    assert pve.message("POST", f"{VM}/777/clone", **wrong) == (500, missing)
    for name, status, message in (
        ("pool", 403, "Permission check failed (pool 'nosuch' does not exist)"),
        ("target", 500, "no such cluster node 'nosuch'"),
        ("storage", 400, "Parameter verification failed."),
        ("format", 500, "parameter 'format' not allowed for linked clones"),
        ("full", 500, "unable to create VM 700: config file already exists"),
    ):
        assert pve.message("POST", f"{vm}/clone", **wrong) == (status, message)
        del wrong[name]


def test_a_disk_moves_to_another_storage_and_the_old_one_stays_or_goes(pve: Pve, vm: str) -> None:
    assert pve.task("POST", f"{vm}/move_disk", disk="scsi0", storage="other") == "OK"
    config = pve.config(700)
    assert (config["scsi0"], config["unused0"]) == (
        "other:700/vm-700-disk-0.qcow2,size=2G",
        "vmstore:700/vm-700-disk-0.qcow2",
    )
    assert pve.task("POST", f"{vm}/move_disk", disk="scsi0", storage="vmstore", delete=1) == "OK"
    assert pve.config(700)["scsi0"].startswith("vmstore:700/vm-700-disk-1.qcow2")
    assert pve.ok("GET", "/nodes/pve1/storage/other/content") == []
    assert pve.task("POST", f"{vm}/move_disk", disk="ide2", storage="other", delete=1) == "OK"


def test_moves_that_pve_refuses(pve: Pve, vm: str) -> None:
    for params, message in (
        ({"disk": "scsi7", "storage": "other"}, "disk 'scsi7' does not exist"),
        ({"disk": "scsi0", "storage": "vmstore"}, "you can't move to the same storage with same format"),
        (
            {"disk": "scsi0", "storage": "other", "digest": "0" * 40},
            "detected modified configuration - file ",
        ),
    ):
        assert pve.message("POST", f"{vm}/move_disk", **params)[1].startswith(message)
    nothing = pve.send("POST", f"{vm}/move_disk", disk="scsi0").json()["errors"]
    assert sorted(nothing) == ["storage", "target-vmid"]
    both = pve.send("POST", f"{vm}/move_disk", disk="scsi0", storage="other", target_vmid=9000).json()[
        "errors"
    ]
    assert set(both.values()) == {"either set 'storage' or 'target-vmid', but not both"}
    pve.task("POST", f"{vm}/snapshot", snapname="one")
    why = "you can't move a disk with snapshots and delete the source"
    assert pve.message("POST", f"{vm}/move_disk", disk="scsi0", storage="other", delete=1) == (500, why)
    assert pve.task("POST", f"{vm}/move_disk", disk="scsi0", storage="other") == "OK"


def test_a_full_storage_fails_the_move_and_leaves_the_disk(pve: Pve, vm: str) -> None:
    pve.control.patch("/storages/other", json={"other_used": 10 * 1024**3}).raise_for_status()
    status = pve.task("POST", f"{vm}/move_disk", disk="scsi0", storage="other")
    assert (status.startswith("storage migration failed: "), "No space left" in status) == (True, True)
    assert pve.config(700)["scsi0"].startswith("vmstore:")
    assert pve.ok("GET", "/nodes/pve1/storage/other/content") == []


def test_disks_that_pve_does_not_hand_over(pve: Pve, vm: str) -> None:
    pve.clone(703, full=1)
    pve.ok("PUT", f"{vm}/config", scsi1="vmstore:1", ide3="none,media=cdrom")

    def refused(**params: object) -> str:
        return pve.message("POST", f"{vm}/move_disk", **{"target_vmid": 703, **params})[1]

    assert refused(disk="scsi1", target_vmid=9000) == "Can't move disks from or to template VMs"
    assert refused(disk="scsi7") == "Disk 'scsi7' for VM '700' does not exist"
    assert refused(disk="ide3") == "CD drive contents can't be moved to another VM"
    stale = "detected modified configuration - file changed by other user? Try again."
    assert refused(disk="scsi1", digest="0" * 40) == f"VM 700: {stale}"
    assert refused(disk="scsi1", target_digest="0" * 40) == f"VM 703: {stale}"
    pve.control.patch("/vms/703", json={"lock": "backup"})
    assert refused(disk="scsi1") == "VM is locked (backup)"
    pve.control.patch("/vms/703", json={"lock": None})
    pve.task("POST", f"{vm}/snapshot", snapname="one")
    assert refused(disk="scsi1") == "Can't move disk used by a snapshot to another VM"


def test_an_unused_disk_can_be_handed_over(pve: Pve, vm: str) -> None:
    pve.clone(703, full=1)
    pve.ok("PUT", f"{vm}/config", scsi1="vmstore:1")
    pve.ok("PUT", f"{vm}/config", delete="scsi1")
    handed = {"disk": "unused0", "target_vmid": 703}
    assert pve.task("POST", f"{vm}/move_disk", **handed, target_disk="unused3") == "OK"
    assert pve.config(703)["unused3"] == "vmstore:703/vm-703-disk-1.qcow2"
    assert "unused0" not in pve.config(700)


def test_a_disk_grows_also_with_snapshots_but_not_without_end(pve: Pve, vm: str) -> None:
    pve.task("POST", f"{vm}/snapshot", snapname="one")
    assert pve.task("PUT", f"{vm}/resize", disk="scsi0", size="+1.5G") == "OK"
    assert pve.config(700)["scsi0"].endswith("size=3584M")
    assert pve.task("PUT", f"{vm}/resize", disk="scsi0", size="3G") == "shrinking disks is not supported"
    assert "8 EiB" in pve.task("PUT", f"{vm}/resize", disk="scsi0", size="9" * 400 + "T")


def test_volumes_that_cannot_be_named_so(pve: Pve) -> None:
    content = "/nodes/pve1/storage/vmstore/content"
    assert pve.message("DELETE", f"{content}/vmstore:rubbish") == (
        500,
        "unable to parse directory volume name 'rubbish'",
    )
    assert pve.message("DELETE", f"{content}/vmstore:777/x.iso") == (
        500,
        "unable to parse volume filename 'x.iso'",
    )
    other = pve.send("DELETE", f"{content}/local:iso/x.iso")
    assert (other.status_code, other.json()["errors"]) == (
        400,
        {"volume": "storage ID mismatch (local != vmstore)\n"},
    )


def test_a_base_image_in_use_fails_the_request_that_waits_for_its_deletion(pve: Pve) -> None:
    pve.clone(704)
    path = "/nodes/pve1/storage/vmstore/content/vmstore:9000/base-9000-disk-0.qcow2"
    why = "base volume '9000/base-9000-disk-0.qcow2' is still in use by linked clones"
    assert pve.task("DELETE", path) == why
    assert pve.message("DELETE", path, delay=5) == (500, why)
