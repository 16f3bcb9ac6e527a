"""What becomes of a VM: changes while it runs, snapshots, templates, disks, migration."""

import time
from collections.abc import Iterator

import pytest

from tests.sandbox.requests import VM, Pve


@pytest.fixture
def two_nodes(pve: Pve) -> Iterator[Pve]:
    """The sandbox as a cluster of two nodes."""
    pve.control.post("/reset", json={"nodes": 2}).raise_for_status()
    yield pve
    pve.control.post("/reset", json={"nodes": 1}).raise_for_status()


def test_a_running_vm_keeps_some_changes_for_the_next_start(pve: Pve) -> None:
    pve.clone(500)
    assert pve.task("POST", f"{VM}/500/status/start") == "OK"
    pve.ok("PUT", f"{VM}/500/config", cores=2, name="renamed")
    pending = {item["key"]: item for item in pve.ok("GET", f"{VM}/500/pending")}
    assert pending["cores"] == {"key": "cores", "value": 1, "pending": 2}
    assert pending["name"] == {"key": "name", "value": "renamed"}
    assert pve.ok("GET", f"{VM}/500/config", current=1)["cores"] == 1
    assert pve.config(500)["cores"] == 2
    assert pve.task("POST", f"{VM}/500/status/reboot") == "OK"
    assert pve.ok("GET", f"{VM}/500/config", current=1)["cores"] == 2


def test_a_pending_change_can_be_reverted(pve: Pve) -> None:
    pve.clone(501)
    pve.task("POST", f"{VM}/501/status/start")
    pve.ok("PUT", f"{VM}/501/config", cores=4)
    pve.ok("PUT", f"{VM}/501/config", revert="cores")
    assert pve.config(501)["cores"] == 1


def test_cloud_init_options_change_at_once_and_the_drive_later(pve: Pve) -> None:
    pve.clone(516)
    pve.task("POST", f"{VM}/516/status/start")
    pve.ok("PUT", f"{VM}/516/config", ciuser="new", ipconfig0="ip=10.99.0.9/24")
    assert pve.ok("GET", f"{VM}/516/config", current=1)["ciuser"] == "new"
    assert pve.ok("GET", f"{VM}/516/cloudinit") == [{"key": "ciuser", "value": "debian", "pending": "new"}]
    assert "10.99.0.9" not in pve.send("GET", f"{VM}/516/agent/network-get-interfaces").text
    pve.ok("PUT", f"{VM}/516/cloudinit")
    assert pve.ok("GET", f"{VM}/516/cloudinit") == [{"key": "ciuser", "value": "new"}]


def test_the_boot_disk_of_a_running_vm_cannot_be_unplugged(pve: Pve) -> None:
    pve.clone(502)
    pve.task("POST", f"{VM}/502/status/start")
    answer = pve.send("PUT", f"{VM}/502/config", delete="scsi0")
    assert answer.json()["errors"] == {"scsi0": "hotplug problem - can't unplug bootdisk 'scsi0'\n"}


def test_a_disk_goes_unused_and_comes_back(pve: Pve) -> None:
    pve.clone(503)
    pve.ok("PUT", f"{VM}/503/config", scsi1="vmstore:5")
    assert pve.config(503)["scsi1"] == "vmstore:503/vm-503-disk-1.qcow2,size=5G"
    pve.ok("PUT", f"{VM}/503/config", delete="scsi1")
    assert pve.config(503)["unused0"] == "vmstore:503/vm-503-disk-1.qcow2"
    pve.ok("PUT", f"{VM}/503/config", virtio0="vmstore:503/vm-503-disk-1.qcow2")
    config = pve.config(503)
    assert (config["virtio0"], "unused0" in config) == ("vmstore:503/vm-503-disk-1.qcow2,size=5G", False)


def test_an_image_is_imported_with_its_own_size(pve: Pve) -> None:
    image = "vmstore:0,import-from=local:import/debian-12-genericcloud-local.qcow2"
    assert pve.task("POST", VM, vmid=504, scsi0=image) == "OK"
    assert pve.config(504)["scsi0"] == "vmstore:504/vm-504-disk-0.qcow2,size=3G"


def test_a_rollback_brings_the_configuration_back(pve: Pve) -> None:
    pve.clone(505)
    assert pve.task("POST", f"{VM}/505/snapshot", snapname="before", description="as it was") == "OK"
    pve.ok("PUT", f"{VM}/505/config", memory=4096)
    assert pve.task("POST", f"{VM}/505/snapshot/before/rollback") == "OK"
    assert pve.config(505)["memory"] == "1024"
    listed = pve.ok("GET", f"{VM}/505/snapshot")
    assert [(s["name"], s.get("parent")) for s in listed] == [("before", None), ("current", "before")]
    assert pve.task("POST", f"{VM}/505/snapshot", snapname="before") == "snapshot name 'before' already used"
    assert pve.task("DELETE", f"{VM}/505/snapshot/nosuch") == "snapshot 'nosuch' does not exist"


def test_a_cloud_init_drive_that_a_snapshot_names_comes_back_at_the_next_start(pve: Pve) -> None:
    pve.clone(520)
    assert pve.task("POST", f"{VM}/520/snapshot", snapname="with-drive") == "OK"
    pve.ok("PUT", f"{VM}/520/config", delete="ide2")
    assert [v["volid"] for v in pve.ok("GET", "/nodes/pve1/storage/vmstore/content", vmid=520)] == [
        "vmstore:9000/base-9000-disk-0.qcow2/520/vm-520-disk-0.qcow2"
    ]
    assert pve.task("POST", f"{VM}/520/snapshot/with-drive/rollback") == "OK"
    assert pve.task("POST", f"{VM}/520/status/start") == "OK"
    assert len(pve.ok("GET", "/nodes/pve1/storage/vmstore/content", vmid=520)) == 2


def test_a_snapshot_with_memory_brings_a_running_vm_back(pve: Pve) -> None:
    pve.clone(506)
    pve.task("POST", f"{VM}/506/status/start")
    assert pve.task("POST", f"{VM}/506/snapshot", snapname="live", vmstate=1) == "OK"
    pve.task("POST", f"{VM}/506/status/stop")
    assert pve.task("POST", f"{VM}/506/snapshot/live/rollback") == "OK"
    assert pve.ok("GET", f"{VM}/506/status/current")["status"] == "running"


def test_a_template_with_linked_clones_cannot_be_deleted(pve: Pve) -> None:
    pve.clone(507, full=1)
    assert pve.task("POST", f"{VM}/507/template") == "OK"
    assert pve.task("POST", f"{VM}/507/clone", newid=508) == "OK"
    assert "vmstore:507/base-507-disk-0.qcow2" in pve.config(508)["scsi0"]
    assert pve.task("POST", f"{VM}/507/status/start") == "you can't start a vm if it's a template"
    refused = "base volume 'vmstore:507/base-507-disk-0.qcow2' is still in use by linked cloned"
    assert pve.task("DELETE", f"{VM}/507") == refused
    assert pve.task("DELETE", f"{VM}/508") == "OK"
    assert pve.task("DELETE", f"{VM}/507") == "OK"


def test_a_protected_or_running_vm_cannot_be_deleted(pve: Pve) -> None:
    pve.clone(509)
    pve.ok("PUT", f"{VM}/509/config", protection=1)
    assert pve.message("DELETE", f"{VM}/509") == (500, "can't remove VM 509 - protection mode enabled")
    pve.ok("PUT", f"{VM}/509/config", delete="protection")
    pve.task("POST", f"{VM}/509/status/start")
    assert pve.message("DELETE", f"{VM}/509") == (500, "VM 509 is running - destroy failed")


def test_a_missing_bridge_fails_the_start(pve: Pve) -> None:
    pve.clone(510)
    pve.ok("PUT", f"{VM}/510/config", net0="virtio,bridge=vmbr9")
    assert pve.task("POST", f"{VM}/510/status/start") == "start failed: QEMU exited with code 1"


def test_the_agent_answers_some_time_after_the_start(pve: Pve) -> None:
    pve.clone(511)
    pve.ok("PUT", f"{VM}/511/config", ipconfig0="ip=10.99.0.7/24,gw=10.99.0.1")
    pve.scale(0.02)
    pve.task("POST", f"{VM}/511/status/start")
    silent = (500, "QEMU guest agent is not running")
    assert pve.message("GET", f"{VM}/511/agent/network-get-interfaces") == silent
    time.sleep(0.3)
    found = pve.ok("GET", f"{VM}/511/agent/network-get-interfaces")["result"]
    addresses = [a["ip-address"] for interface in found for a in interface["ip-addresses"]]
    assert "10.99.0.7" in addresses


def test_the_cluster_knows_a_new_vm_only_after_the_next_round(pve: Pve) -> None:
    pve.control.patch("/settings", json={"time_scale": 1, "durations": {"statistics": 0.5, "clone": 0}})
    time.sleep(0.5 - time.time() % 0.5 + 0.05)
    pve.ok("POST", f"{VM}/9000/clone", newid=512, full=0)

    def seen() -> dict[str, object]:
        found: list[dict[str, object]] = pve.ok("GET", "/cluster/resources", type="vm")
        return next(vm for vm in found if vm["vmid"] == 512)

    assert (seen()["status"], "name" in seen()) == ("unknown", False)
    time.sleep(0.5)
    assert (seen()["status"], seen()["name"]) == ("stopped", "Copy-of-VM-debian12-cloud")
    pve.control.patch("/settings", json={"durations": {"statistics": 10, "clone": 0.4}})


def test_a_vm_moves_to_the_other_node_with_its_disks(two_nodes: Pve) -> None:
    pve = two_nodes
    pve.clone(513, full=1)
    assert pve.task("POST", f"{VM}/513/migrate", target="pve2") == "OK"
    assert pve.ok("GET", "/nodes/pve2/qemu/513/config")["name"] == "Copy-of-VM-debian12-cloud"
    assert pve.ok("GET", "/nodes/pve1/storage/vmstore/content", vmid=513) == []
    assert len(pve.ok("GET", "/nodes/pve2/storage/vmstore/content", vmid=513)) == 2
    assert pve.send("GET", f"{VM}/513/config").status_code == 500


def test_a_linked_clone_stays_with_its_template(two_nodes: Pve) -> None:
    two_nodes.clone(514, full=0)
    upid = two_nodes.ok("POST", f"{VM}/514/migrate", target="pve2")
    assert two_nodes.ended(upid) == "migration aborted"
    log = two_nodes.ok("GET", f"/nodes/pve1/tasks/{upid}/log")
    assert "as it's a clone of 'base-9000-disk-0.qcow2'" in log[-2]["t"]
    assert "lock" not in two_nodes.config(514)
    target = two_nodes.message("POST", f"{VM}/9000/clone", newid=515, target="pve2")
    assert target == (500, "can't clone VM to node 'pve2' (VM uses local storage)")


def test_a_running_vm_on_shared_storage_moves_without_copying(two_nodes: Pve) -> None:
    pve = two_nodes
    pve.clone(517, full=1, storage="shared")
    pve.task("POST", f"{VM}/517/status/start")
    refused = pve.message("POST", f"{VM}/517/migrate", target="pve2")
    assert refused == (500, "can't migrate running VM without --online")
    assert pve.task("POST", f"{VM}/517/migrate", target="pve2", online=1) == "OK"
    assert pve.ok("GET", "/nodes/pve2/qemu/517/status/current")["status"] == "running"
    volumes = pve.ok("GET", "/nodes/pve1/storage/shared/content", vmid=517)
    assert volumes == pve.ok("GET", "/nodes/pve2/storage/shared/content", vmid=517) != []


def test_a_clone_to_another_node_needs_shared_storage(two_nodes: Pve) -> None:
    two_nodes.clone(518, full=1, storage="shared")
    refused = two_nodes.message(
        "POST", f"{VM}/518/clone", newid=519, full=1, target="pve2", storage="vmstore"
    )
    assert refused == (500, "can't clone to non-shared storage 'vmstore'")
    assert two_nodes.task("POST", f"{VM}/518/clone", newid=519, full=1, target="pve2") == "OK"
    assert two_nodes.ok("GET", "/nodes/pve2/qemu/519/config")["scsi0"].startswith("shared:519/")
