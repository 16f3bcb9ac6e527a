"""A guest's files belong to its boot disk, and go where the disk goes."""

from tests.sandbox.guest import GuestVm
from tests.sandbox.requests import VM, Pve


def marked(pve: Pve, vmid: int) -> GuestVm:
    """A guest with a file of its own."""
    guest = GuestVm.started(pve, vmid)
    guest.write("/srv/mark", "first")
    return guest


def boot(pve: Pve, vmid: int) -> GuestVm:
    """Start an existing VM."""
    guest = GuestVm(pve, vmid)
    guest.power("start")
    guest.wait_up()
    return guest


def mark(guest: GuestVm) -> str:
    return guest.sh("cat /srv/mark 2>/dev/null || echo none")


def test_files_outlast_stop_shutdown_reset_and_reboot(guests: Pve) -> None:
    guest = marked(guests, 431)
    for actions in (["stop", "start"], ["shutdown", "start"], ["reset"], ["reboot"]):
        for action in actions:
            guest.power(action)
        guest.wait_up()
        assert mark(guest) == "first"


def test_a_clone_of_the_template_begins_afresh(guests: Pve) -> None:
    marked(guests, 432)
    for vmid, full in ((433, 0), (434, 1)):
        guests.clone(vmid, full=full)
        assert mark(boot(guests, vmid)) == "none\n"


def test_a_full_clone_has_the_files_of_its_source_and_then_its_own(guests: Pve) -> None:
    source = marked(guests, 435)
    assert guests.task("POST", f"{VM}/435/clone", newid=436, full=1) == "OK"
    source.write("/srv/mark", "second")
    copy = boot(guests, 436)
    assert mark(copy) == "first"
    copy.write("/srv/mark", "third")
    assert mark(source) == "second"
    source.power("stop")
    assert guests.task("POST", f"{VM}/435/clone", newid=437, full=1) == "OK"
    assert guests.task("DELETE", f"{VM}/435") == "OK"
    assert mark(boot(guests, 437)) == "second"


def test_linked_clones_have_the_files_of_their_template(guests: Pve) -> None:
    marked(guests, 438).power("stop")
    assert guests.task("POST", f"{VM}/438/template") == "OK"
    for vmid in (439, 440):
        assert guests.task("POST", f"{VM}/438/clone", newid=vmid, full=0) == "OK"
        guest = boot(guests, vmid)
        assert mark(guest) == "first"
        guest.write("/srv/mark", str(vmid))


def test_a_rollback_brings_the_files_back(guests: Pve) -> None:
    guest = marked(guests, 441)
    assert guests.task("POST", f"{guest.path}/snapshot", snapname="before") == "OK"
    guest.write("/srv/mark", "second")
    for _ in range(2):
        assert guests.task("POST", f"{guest.path}/snapshot/before/rollback") == "OK"
        guest = boot(guests, 441)
        assert mark(guest) == "first"
        guest.write("/srv/mark", "again")


def test_a_restored_backup_has_the_files_of_its_time(guests: Pve) -> None:
    guest = marked(guests, 442)
    assert guests.task("POST", "/nodes/pve1/vzdump", vmid=442, storage="local", mode="snapshot") == "OK"
    guest.write("/srv/mark", "second")
    guest.power("stop")
    (archive,) = guests.ok("GET", "/nodes/pve1/storage/local/content", content="backup", vmid=442)
    assert guests.task("POST", VM, vmid=442, archive=archive["volid"], force=1) == "OK"
    assert mark(boot(guests, 442)) == "first"


def test_a_disk_that_is_handed_over_takes_its_files_along(guests: Pve) -> None:
    marked(guests, 443).power("stop")
    guests.clone(444)
    guests.ok("PUT", f"{VM}/444/config", delete="scsi0")
    guests.ok("PUT", f"{VM}/444/config", delete="unused0")
    moved = {"disk": "scsi0", "target_vmid": 444, "target_disk": "scsi0"}
    assert guests.task("POST", f"{VM}/443/move_disk", **moved) == "OK"
    guests.ok("PUT", f"{VM}/444/config", boot="order=scsi0")
    assert mark(boot(guests, 444)) == "first"


def test_a_vm_that_boots_from_nothing_has_no_guest(guests: Pve) -> None:
    guests.clone(445)
    guests.ok("PUT", f"{VM}/445/config", boot="order=net0")
    guest = GuestVm(guests, 445)
    guest.power("start")
    assert guest.refused("POST", "ping") == "QEMU guest agent is not running"
    assert guest.control()["guest"] == {"phase": "no operating system", "ssh": None}


def test_files_of_a_deleted_disk_are_gone(guests: Pve) -> None:
    marked(guests, 446).power("stop")
    assert guests.task("DELETE", f"{VM}/446") == "OK"
    guests.clone(446)
    assert mark(boot(guests, 446)) == "none\n"


def test_a_hibernated_guest_boots_anew_from_its_disk(guests: Pve) -> None:
    guest = marked(guests, 447)
    assert guests.task("POST", f"{guest.path}/status/suspend", todisk=1) == "OK"
    assert guest.control()["guest"] is None
    guest.power("start")
    guest.wait_up()
    assert mark(guest) == "first"
