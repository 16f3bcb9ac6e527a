"""Rebuilds from other templates, with snapshots, and after other rebuilds."""

from dataclasses import replace
from typing import Any

import pytest

from jotunheim.exceptions.repository import ProxmoxRequestError, UnsupportedTemplateError
from tests.playbooks.pve_plugins import MARK, Death, Killed
from tests.playbooks.pve_rebuilds import DONE, Scene, bare
from tests.playbooks.test_rebuild import WANTED, config, swap, whole

from ansible_collections.jotunheim.pve.plugins.plugin_utils import rebuild  # isort: skip

OTHER = replace(WANTED, template_vmid=9001, rebuild_id="job-2")
DONE_2 = f"{MARK}\njotunheim:rebuild=job-2\nnotes"
LOSES_SNAPSHOTS = replace(WANTED, destroy_snapshots=True)
FOREIGN = {"bios": "seabios", "machine": "q35", "ostype": "win11", "scsihw": "virtio-scsi-single"}


def refused(scene: Scene, wanted: rebuild.Rebuild) -> str:
    """The reason why a rebuild is refused before anything happens."""
    before = scene.sandbox.state()
    for checking in (True, False):
        with pytest.raises(UnsupportedTemplateError) as caught:
            rebuild.prepare(scene.plugins.vm(), wanted, checking=checking)
        assert (caught.value.code, bool(caught.value.hint)) == ("unsupported_template", True)
        assert scene.sandbox.state() == before
    return caught.value.message


def virtio(scene: Scene) -> None:
    """Template 9001, whose disk has another key."""
    scene.template(9001)
    disk = scene.sandbox.vm(9001)["config"]["scsi0"]
    scene.sandbox.change(9001, config={"scsi0": None, "virtio0": disk, "boot": "order=virtio0"})
    scene.others |= bare({9001: scene.sandbox.vm(9001)})


@pytest.mark.parametrize("key", ["efidisk0", "tpmstate0"])
@pytest.mark.parametrize("vmid", [1101, 9000])
def test_firmware_state_that_only_one_has_is_refused(scene: Scene, vmid: int, key: str) -> None:
    scene.sandbox.change(vmid, config={key: f"vmstore:{vmid}/vm-{vmid}-disk-9.qcow2,size=4M"})
    message = refused(scene, WANTED)
    has = "VM" if vmid == 1101 else "template"
    assert message.startswith(f"The {has} has {key} and the ")


def test_a_template_with_several_disks_is_refused(scene: Scene) -> None:
    scene.sandbox.change(9000, config={"scsi5": "vmstore:9000/base-9000-disk-5.qcow2,size=1G"})
    assert "has 2 disks" in refused(scene, WANTED)


def test_a_template_whose_disk_would_push_a_data_disk_aside_is_refused(scene: Scene) -> None:
    virtio(scene)
    data = scene.sandbox.vm(1101)["config"]["scsi1"]
    scene.sandbox.change(1101, config={"virtio0": data, "scsi1": None})
    assert "The template's disk is virtio0" in refused(scene, OTHER)


def test_what_belongs_to_the_disk_comes_from_the_template_and_goes_back_with_it(scene: Scene) -> None:
    scene.template(9001, **FOREIGN)
    scene.sandbox.fault(method="PUT", path="/1101/config$", status=500, message="oops", skip=1)
    with pytest.raises(ProxmoxRequestError):
        swap(scene.plugins.vm(), OTHER)
    scene.assert_old()
    whole(scene.plugins.vm(), OTHER)
    scene.assert_done(description=DONE_2, **FOREIGN)
    # And back: what the template does not say, the server has not.
    scene.old = config(scene.sandbox)["scsi0"].split(",")[0]
    whole(scene.plugins.vm(), replace(WANTED, rebuild_id="job-3"))
    scene.assert_done(description=f"{MARK}\njotunheim:rebuild=job-3\nnotes")


def test_another_disk_key_takes_the_old_ones_place_in_the_boot_order(scene: Scene) -> None:
    virtio(scene)
    whole(scene.plugins.vm(), OTHER)
    boot = scene.before["boot"].replace("scsi0", "virtio0")
    scene.assert_done(device="virtio0", boot=boot, description=DONE_2)


def test_another_disk_key_is_free_again_after_a_failure(scene: Scene) -> None:
    virtio(scene)
    for path, skip in (("/move_disk$", 0), ("/1101/config$", 1)):
        scene.sandbox.fault(
            path=path, method="POST" if "move" in path else "PUT", status=500, message="oops", skip=skip
        )
        with pytest.raises(ProxmoxRequestError):
            swap(scene.plugins.vm(), OTHER)
        scene.assert_old()


def test_a_full_clone_does_not_hang_on_the_template(scene: Scene) -> None:
    whole(scene.plugins.vm(), replace(WANTED, full=True))
    scene.assert_done()
    volumes = scene.plugins.volumes()
    assert volumes[config(scene.sandbox)["scsi0"].split(",")[0]]["parent"] is None


def test_snapshots_go_newest_first_whenever_it_dies(scene: Scene) -> None:
    for name in ("first", "second"):
        scene.plugins.run("POST", "nodes/pve1/qemu/1101/snapshot", snapname=name)
    state = scene.sandbox.state()
    (vm,) = [vm for vm in state["vms"].values() if vm["vmid"] == 1101]
    vm["snapshots"]["first"]["created"] -= 60  # PVE tells whole seconds only
    scene.sandbox.control("PUT", "/state", **state)
    deleted = []
    for moment in scene.plugins.deaths(lambda vm: whole(vm, LOSES_SNAPSHOTS), journaled=False):
        scene.assert_done(moment, parent=None)
        assert scene.sandbox.vm(1101)["snapshots"] == []
        if "/snapshot/" in moment:
            deleted.append(moment.rpartition("/")[2])
    assert deleted == ["second", "second", "first", "first"]


def test_a_failure_says_which_snapshots_are_gone(scene: Scene) -> None:
    scene.plugins.run("POST", "nodes/pve1/qemu/1101/snapshot", snapname="only")
    scene.sandbox.fault(method="POST", path="/move_disk$", status=500, message="oops")
    with pytest.raises(ProxmoxRequestError) as caught:
        swap(scene.plugins.vm(), LOSES_SNAPSHOTS)
    assert "Snapshots that are gone: only." in caught.value.message
    scene.before.pop("parent", None)
    scene.assert_old()


def test_a_second_rebuild_removes_also_what_the_first_left_behind(scene: Scene) -> None:
    whole(scene.plugins.vm())
    scene.old = config(scene.sandbox)["scsi0"].split(",")[0]
    whole(scene.plugins.vm(), replace(WANTED, rebuild_id="job-2"))
    scene.assert_done(description=DONE_2)
    scene.old = config(scene.sandbox)["scsi0"].split(",")[0]
    swap(scene.plugins.vm(), replace(WANTED, rebuild_id="job-3"))
    swap(scene.plugins.vm(), replace(WANTED, rebuild_id="job-4"))
    assert len([key for key in config(scene.sandbox) if key.startswith("unused")]) == 3
    whole(scene.plugins.vm(), replace(WANTED, rebuild_id="job-4"))
    scene.assert_done(description=f"{MARK}\njotunheim:rebuild=job-4\nnotes")


def test_another_rebuild_takes_over_wherever_the_first_died(scene: Scene) -> None:
    """Without a journal, as another job has another one."""
    virtio(scene)
    boot = scene.before["boot"].replace("scsi0", "virtio0")
    initial, moments = scene.sandbox.state(), []
    for number in range(1, 100):
        death = Death(number, after=True)
        try:
            whole(scene.plugins.vm(death=death))
        except Killed:
            moments.append(death.seen[-1])
        if len(moments) < number:
            break
        scene.assert_nothing_lost(moments[-1])
        whole(scene.plugins.vm(), OTHER)
        scene.plugins.settle()
        scene.assert_done(moments[-1], device="virtio0", boot=boot, description=DONE_2)
        scene.sandbox.control("PUT", "/state", **initial)
    assert len(moments) >= 8


def test_a_rebuild_never_takes_another_ones_disk_for_its_own(scene: Scene) -> None:
    """Each has given its disk to the server and failed before its last write; then the first comes again."""
    scene.template(9001, ostype="win11")
    last = {"method": "PUT", "path": "/1101/config$", "reset": True}
    scene.sandbox.fault(**last, skip=1)
    fails(scene, WANTED)
    scene.sandbox.fault(**last, skip=2)
    fails(scene, replace(OTHER, scratch_vmid=1902))
    assert "replaced=by=job-2" in config(scene.sandbox)["description"]
    with pytest.raises(ProxmoxRequestError) as caught:
        rebuild.swap_disks(scene.plugins.vm(), WANTED, checking=False)
    assert caught.value.code == "rebuild_incomplete"
    whole(scene.plugins.vm())
    assert config(scene.sandbox)["description"] == DONE
    assert config(scene.sandbox)["ostype"] == scene.before["ostype"]


def test_a_takeover_that_fails_has_given_the_server_its_old_disk_back(scene: Scene) -> None:
    virtio(scene)
    scene.sandbox.fault(method="PUT", path="/1101/config$", reset=True, skip=1)
    fails(scene, WANTED)
    assert scene.sandbox.vm(1101)["status"] == "stopped"
    scene.sandbox.fault(method="POST", path="/clone$", status=500, message="No space left on device")
    fails(scene, OTHER)
    scene.assert_old()


def test_a_server_that_its_user_started_in_the_middle_is_stopped_for_the_rest(scene: Scene) -> None:
    scene.sandbox.fault(method="PUT", path="/1101/config$", reset=True, skip=1)
    fails(scene, WANTED)
    scene.plugins.run("POST", "nodes/pve1/qemu/1101/status/start")
    scene.sandbox.forget_requests()
    whole(scene.plugins.vm())
    scene.assert_done()
    assert "POST /nodes/pve1/qemu/1101/status/stop" in scene.sandbox.requests()


def test_a_disk_that_pve_does_not_count_as_the_servers_is_kept(scene: Scene) -> None:
    """A volume of another VM's name does not become an unused disk: only our notes lead back to it."""
    theirs = scene.sandbox.vm(1102)["config"]["scsi0"]
    scene.sandbox.change(1102, config={"scsi0": None})
    scene.sandbox.change(1101, status="stopped", config={"scsi0": theirs})
    scene.sandbox.fault(method="POST", path="/move_disk$", status=500, message="oops")
    fails(scene, WANTED)
    assert config(scene.sandbox)["scsi0"] == theirs
    whole(scene.plugins.vm())
    assert config(scene.sandbox)["scsi0"] != theirs
    assert theirs.split(",")[0] in scene.plugins.volumes()


def fails(scene: Scene, wanted: rebuild.Rebuild) -> Any:
    with pytest.raises(ProxmoxRequestError):
        swap(scene.plugins.vm(), wanted)
