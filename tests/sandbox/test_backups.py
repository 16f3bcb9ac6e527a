"""Backups on either kind of storage: notes, protection, and what is left when one does not end well."""

import time

import pytest

from tests.sandbox.requests import VM, Pve

BOTH = pytest.mark.parametrize("storage", ["local", "pbs"])
VZDUMP = "/nodes/pve1/vzdump"


def dumped(pve: Pve, storage: str, **params: object) -> tuple[str, list[str]]:
    """The exit status and the log of a backup of VM 600."""
    upid = pve.ok("POST", VZDUMP, vmid=600, storage=storage, **params)
    return pve.ended(upid), pve.log(upid)


@BOTH
def test_notes_from_their_template(backup_server: Pve, storage: str) -> None:
    template = r"{{cluster}}|{{guestname}}|{{node}}|{{vmid}}|a\\n\nsecond"
    volid = backup_server.back_up(600, storage, notes_template=template)
    whole = backup_server.ok("GET", f"/nodes/pve1/storage/{storage}/content/{volid}")["notes"]
    assert whole == "standalone node|web|pve1|600|a\\n\nsecond"
    assert backup_server.backups(storage, 600)[0]["notes"] == whole.split("\n")[0]


@BOTH
@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{nosuch}}", "unexpected variable name 'nosuch'"),
        (r"a\tb", "unexpected escape character 't'"),
    ],
)
def test_a_bad_template_is_a_warning_and_the_backup_has_no_notes(
    backup_server: Pve, storage: str, template: str, why: str
) -> None:
    status, log = dumped(backup_server, storage, notes_template=template)
    assert (status, f"WARN: unable to add notes - {why}" in log) == ("OK", True)
    assert "notes" not in backup_server.backups(storage, 600)[0]


def test_a_template_of_two_lines_and_one_without_a_storage_are_refused(backup_server: Pve) -> None:
    answer = backup_server.send("POST", VZDUMP, vmid=600, storage="local", notes_template="a\nb")
    assert (answer.status_code, answer.json()["errors"]) == (400, {"notes-template": "contains a line feed"})
    answer = backup_server.send("POST", VZDUMP, vmid=600, notes_template="a", protected=1)
    assert (answer.status_code, sorted(answer.json()["errors"])) == (400, ["storage"])


@BOTH
def test_a_backup_can_be_protected_from_its_start(backup_server: Pve, storage: str) -> None:
    status, log = dumped(backup_server, storage, protected=1)
    assert (status, "INFO: marking backup as protected" in log) == ("OK", True)
    [backup] = backup_server.backups(storage, 600)
    assert backup["protected"] == 1
    path = f"/nodes/pve1/storage/{storage}/content/{backup['volid']}"
    assert "cannot remove protected" in backup_server.task("DELETE", path)
    assert len(backup_server.backups(storage, 600)) == 1


@BOTH
def test_who_may_not_allocate_storages_has_five_protected_backups_of_a_vm(
    backup_server: Pve, storage: str
) -> None:
    volids = [backup_server.back_up(600, storage) for _ in range(6)]
    paths = [f"/nodes/pve1/storage/{storage}/content/{volid}" for volid in volids]
    secret = backup_server.ok("POST", "/access/users/admin@pve/token/few", privsep=1)["value"]
    backup_server.ok("POST", "/access/roles", roleid="few", privs="Datastore.AllocateSpace VM.Backup")
    for path in (f"/storage/{storage}", "/vms"):
        backup_server.ok("PUT", "/access/acl", path=path, roles="few", tokens="admin@pve!few")
    few = {"Authorization": f"PVEAPIToken=admin@pve!few={secret}"}
    limited = f"The number of protected backups per guest is limited to 5 on storage '{storage}'"
    for path in paths[:5]:
        answer = backup_server.sandbox.api.put(path, headers=few, data={"protected": 1})
        assert answer.status_code == 200, answer.text
    answer = backup_server.sandbox.api.put(paths[5], headers=few, data={"protected": 1})
    assert (answer.status_code, answer.json()["message"]) == (500, limited + "\n")
    wanted = {"vmid": 600, "storage": storage, "protected": 1}
    upid = backup_server.sandbox.api.post(VZDUMP, headers=few, data=wanted).json()["data"]
    assert backup_server.ended(upid) == "job errors"
    assert f"ERROR: Backup of VM 600 failed - {limited}" in backup_server.log(upid)
    assert len(backup_server.backups(storage, 600)) == 6
    backup_server.ok("PUT", paths[5], protected=1)
    limit = backup_server.sandbox.api.post(VZDUMP, headers=few, data={**wanted, "bwlimit": 1})
    assert (limit.status_code, limit.json()["message"]) == (403, "Permission check failed (/, Sys.Modify)\n")


@BOTH
def test_nothing_is_pruned_that_the_storage_keeps(backup_server: Pve, storage: str) -> None:
    for _ in range(3):
        status, log = dumped(backup_server, storage, remove=1)
        assert (status, [line for line in log if "prune" in line]) == ("OK", [])
    assert len(backup_server.backups(storage, 600)) == 3


@BOTH
def test_a_backup_that_is_stopped_leaves_no_archive_and_no_lock(backup_server: Pve, storage: str) -> None:
    backup_server.scale(1)
    upid = backup_server.ok("POST", VZDUMP, vmid=600, storage=storage, notes_template="x", protected=1)
    time.sleep(0.2)
    assert backup_server.config(600)["lock"] == "backup"
    backup_server.ok("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert backup_server.ended(upid) == "interrupted by signal"
    assert "ERROR: Backup of VM 600 failed - interrupted by signal" in backup_server.log(upid)
    assert (backup_server.backups(storage, 600), "lock" in backup_server.config(600)) == ([], False)


@BOTH
def test_a_backup_of_a_locked_vm_fails_and_leaves_its_lock(backup_server: Pve, storage: str) -> None:
    backup_server.control.patch("/vms/600", json={"lock": "migrate"}).raise_for_status()
    status, log = dumped(backup_server, storage)
    why = "ERROR: Backup of VM 600 failed - VM is locked (migrate)"
    assert (status, why in log, backup_server.config(600)["lock"]) == ("job errors", True, "migrate")
    assert backup_server.backups(storage, 600) == []


@BOTH
def test_what_is_not_backed_up(backup_server: Pve, storage: str) -> None:
    backup_server.ok("PUT", f"{VM}/600/config", scsi1="vmstore:1", scsi2="vmstore:1,backup=0")
    backup_server.ok("PUT", f"{VM}/600/config", delete="scsi1")
    assert backup_server.task("POST", f"{VM}/600/snapshot", snapname="one") == "OK"
    status, log = dumped(backup_server, storage)
    assert status == "OK"
    assert "INFO: skip unused drive 'vmstore:600/vm-600-disk-1.qcow2' (not included into backup)" in log
    assert "INFO: snapshots found (not included into backup)" in log
    [backup] = backup_server.backups(storage, 600)
    text = backup_server.ok("GET", "/nodes/pve1/vzdump/extractconfig", volume=backup["volid"])
    maps = [line for line in text.splitlines() if line.startswith("#qmdump#map:")]
    assert (maps, "unused" in text, "parent" in text) == (
        ["#qmdump#map:scsi0:drive-scsi0:vmstore:qcow2:"],
        False,
        False,
    )


@BOTH
def test_mode_stop_shuts_a_running_vm_down_and_starts_it_again(backup_server: Pve, storage: str) -> None:
    assert backup_server.task("POST", f"{VM}/600/status/start") == "OK"
    before = backup_server.ok("GET", f"{VM}/600/status/current")["pid"]
    status, log = dumped(backup_server, storage, mode="stop")
    assert (status, "INFO: stopping virtual guest" in log) == ("OK", True)
    found = backup_server.ok("GET", f"{VM}/600/status/current")
    assert (found["status"], found["pid"] != before) == ("running", True)
    assert backup_server.task("POST", f"{VM}/600/status/stop") == "OK"
    status, log = dumped(backup_server, storage, mode="snapshot")
    assert (status, "INFO: backup mode: stop" in log) == ("OK", True)
    assert backup_server.ok("GET", f"{VM}/600/status/current")["status"] == "stopped"


def test_mode_stop_starts_the_vm_again_when_the_backup_is_stopped(backup_server: Pve) -> None:
    assert backup_server.task("POST", f"{VM}/600/status/start") == "OK"
    backup_server.scale(1)
    upid = backup_server.ok("POST", VZDUMP, vmid=600, storage="local", mode="stop")
    time.sleep(0.1)
    backup_server.ok("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert backup_server.ended(upid) == "interrupted by signal"
    assert backup_server.ok("GET", f"{VM}/600/status/current")["status"] == "running"
