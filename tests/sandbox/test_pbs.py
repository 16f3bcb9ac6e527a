"""A storage of type pbs: what it is listed as, how its backups are called, and where it differs from a directory."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.sandbox.requests import VM, Pve
from tests.support.sandbox import Sandbox

CONTENT = "/nodes/pve1/storage/pbs/content"
GONE = "pbs:backup/vm/600/2020-01-01T00:00:00Z"
SNAPSHOT = r"vm/600/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
BOTH = pytest.mark.parametrize("storage", ["local", "pbs"])


def test_the_first_state_has_no_such_storage(pve: Pve) -> None:
    assert sorted(storage["storage"] for storage in pve.ok("GET", "/storage")) == ["local", "vmstore"]


def test_all_nodes_share_it_and_it_holds_nothing_but_backups(backup_server: Pve) -> None:
    backup_server.control.post("/reset", json={"nodes": 2}).raise_for_status()
    defined = backup_server.ok("GET", "/storage/pbs")
    del defined["digest"]
    assert defined == {
        "storage": "pbs",
        "type": "pbs",
        "content": "backup",
        "shared": 1,
        "server": "10.99.0.251",
        "datastore": "pbs",
        "username": "root@pam",
    }
    for node in ("pve1", "pve2"):
        [listed] = backup_server.ok("GET", f"/nodes/{node}/storage", storage="pbs")
        assert (listed["type"], listed["content"], listed["shared"]) == ("pbs", "backup", 1)
    resources = [r for r in backup_server.ok("GET", "/cluster/resources") if r.get("storage") == "pbs"]
    assert [(r["id"], r["plugintype"], r["shared"]) for r in resources] == [
        ("storage/pve1/pbs", "pbs", 1),
        ("storage/pve2/pbs", "pbs", 1),
    ]
    status, _ = backup_server.message("POST", f"{VM}", vmid=601, scsi0="pbs:1")
    assert status in (400, 500)


def test_the_option_makes_it_and_the_state_keeps_it(tmp_path: Path) -> None:
    with Sandbox.start(tmp_path, time_scale=0, pbs=["first", "second"]) as sandbox:
        pve = Pve(sandbox)
        pve.clone(600)
        volid = pve.back_up(600, "second")
        assert {"first", "second"} <= set(sandbox.ready["storages"])
        state = json.loads(json.dumps(sandbox.control.get("/state").json()))
        sandbox.control.post("/reset").raise_for_status()
        assert pve.backups("second", 600) == []
        sandbox.control.put("/state", json=state).raise_for_status()
        assert [backup["volid"] for backup in pve.backups("second", 600)] == [volid]
        assert pve.task("POST", VM, vmid=601, archive=volid) == "OK"


def test_names_that_are_taken_are_refused(pve: Pve) -> None:
    answer = pve.control.post("/reset", json={"pbs": ["local"]})
    assert (answer.status_code, answer.json()) == (400, {"error": "pbs: there is a storage 'local' already"})


def test_a_backup_is_a_snapshot_that_is_called_after_its_start(backup_server: Pve) -> None:
    upid = backup_server.ok("POST", "/nodes/pve1/vzdump", vmid=600, storage="pbs", compress="zstd")
    assert backup_server.ended(upid) == "OK"
    [backup] = backup_server.backups("pbs", 600)
    assert re.fullmatch(rf"pbs:backup/{SNAPSHOT}", backup["volid"])
    assert backup == {
        "volid": backup["volid"],
        "content": "backup",
        "format": "pbs-vm",
        "subtype": "qemu",
        "ctime": backup["ctime"],
        "size": backup["size"],
        "vmid": 600,
    }
    assert backup["size"] >= 2 * 1024**3
    log = backup_server.log(upid)
    snapshot = backup["volid"].removeprefix("pbs:backup/")
    assert f"INFO: creating Proxmox Backup Server archive '{snapshot}'" in log
    assert "INFO: scsi0: dirty-bitmap status: created new" in log
    assert not [line for line in log if "vzdump archive" in line or "archive file size" in line]


def test_a_running_vm_is_backed_up_incrementally_until_it_is_stopped(backup_server: Pve) -> None:
    backup_server.task("POST", f"{VM}/600/status/start")

    def incremental() -> bool:
        upid = backup_server.ok("POST", "/nodes/pve1/vzdump", vmid=600, storage="pbs")
        assert backup_server.ended(upid) == "OK"
        found = [line for line in backup_server.log(upid) if "incremental" in line]
        return found == [
            "INFO: using fast incremental mode (dirty-bitmap), 0.0 B dirty of 2.0 GiB total",
            "INFO: backup was done incrementally, reused 2.00 GiB (100%)",
        ]

    assert (incremental(), incremental()) == (False, True)
    backup_server.task("POST", f"{VM}/600/status/stop")
    assert not incremental()


def test_two_backups_in_a_second_have_two_names(backup_server: Pve) -> None:
    assert backup_server.back_up(600, "pbs") != backup_server.back_up(600, "pbs")
    assert len(backup_server.backups("pbs", 600)) == 2


def test_one_backup_is_read_changed_and_removed_under_its_whole_name(backup_server: Pve) -> None:
    volid = backup_server.back_up(600, "pbs", notes_template="{{guestname}}")
    path = f"{CONTENT}/{volid}"
    found = backup_server.ok("GET", path)
    name = volid.removeprefix("pbs:backup/")
    assert (found["format"], found["notes"], found["protected"]) == ("pbs-vm", "web", 0)
    assert backup_server.ok("GET", f"{CONTENT}/{quote(volid, safe='')}") == found
    assert found["path"] == f"pbs://root@pam@10.99.0.251:pbs/{name}"
    backup_server.ok("PUT", path, notes="first\nsecond", protected=1)
    [listed] = backup_server.backups("pbs", 600)
    assert (listed["notes"], listed["protected"]) == ("first", 1)
    assert backup_server.ok("GET", path)["notes"] == "first\nsecond"
    protected = "proxmox-backup-client failed: Error: cannot remove protected snapshot"
    assert backup_server.task("DELETE", path) == protected
    backup_server.ok("PUT", path, protected=0)
    upid = backup_server.ok("DELETE", path)
    assert (backup_server.ended(upid), ":imgdel:600@pbs:" in upid) == ("OK", True)
    assert backup_server.log(upid) == [f"Removed volume '{volid}'", "TASK OK"]
    assert backup_server.backups("pbs", 600) == []


def test_a_snapshot_that_is_gone_fails_where_a_file_does_not(backup_server: Pve) -> None:
    failed = "proxmox-backup-client failed: Error: "
    for method, params in (("GET", {}), ("PUT", {"notes": "x"}), ("PUT", {"protected": 1})):
        status, message = backup_server.message(method, f"{CONTENT}/{GONE}", **params)
        assert (status, message.startswith(f"{failed}unable to load blob"), method) == (500, True, method)
    folder = '"/mnt/datastore/pbs/vm/600/2020-01-01T00:00:00Z"'
    why = f"removing backup snapshot {folder} failed - No such file or directory (os error 2)"
    assert backup_server.task("DELETE", f"{CONTENT}/{GONE}") == failed + why
    local = "local:backup/vzdump-qemu-600-2020_01_01-00_00_00.vma"
    assert backup_server.task("DELETE", f"/nodes/pve1/storage/local/content/{local}") == "OK"


def test_names_that_the_other_kind_of_storage_has_are_refused(backup_server: Pve) -> None:
    for storage, name, message in (
        ("pbs", "backup/vzdump-qemu-600-2020_01_01-00_00_00.vma", "unable to parse PBS volume name "),
        ("pbs", "600/vm-600-disk-0.qcow2", "unable to parse PBS volume name "),
        ("local", "backup/vm/600/2020-01-01T00:00:00Z", "unable to parse directory volume name "),
    ):
        path = f"/nodes/pve1/storage/{storage}/content/{storage}:{name}"
        assert backup_server.message("DELETE", path) == (500, f"{message}'{name}'")


def test_the_token_of_the_service_may_do_all_of_it(tmp_path: Path) -> None:
    with Sandbox.start(tmp_path, time_scale=0, pbs=["store"]) as sandbox:
        pve = Pve(sandbox)
        pve.clone(600)
        headers = {"Authorization": f"PVEAPIToken={sandbox.token_id}={sandbox.token_secret}"}

        def send(method: str, path: str, **params: object) -> Any:
            how = {"params": params} if method in ("GET", "DELETE") else {"json": params}
            answer = sandbox.api.request(method, path, headers=headers, **how)
            assert answer.is_success, (path, answer.text)
            return answer.json()["data"]

        content = "/nodes/pve1/storage/store/content"
        assert pve.ended(send("POST", "/nodes/pve1/vzdump", vmid=600, storage="store", protected=1)) == "OK"
        [backup] = send("GET", content, content="backup", vmid=600)
        send("PUT", f"{content}/{backup['volid']}", protected=0, notes="ours")
        assert send("GET", f"{content}/{backup['volid']}")["notes"] == "ours"
        archive = {"archive": backup["volid"], "force": 1}
        assert pve.ended(send("POST", VM, vmid=600, name="again", description="ours", **archive)) == "OK"
        assert pve.config(600)["name"] == "again"
        assert pve.ended(send("DELETE", f"{content}/{backup['volid']}")) == "OK"


@BOTH
def test_the_archived_configuration_and_a_new_vm_from_it(backup_server: Pve, storage: str) -> None:
    volid = backup_server.back_up(600, storage)
    text = backup_server.ok("GET", "/nodes/pve1/vzdump/extractconfig", volume=volid)
    assert "name: web\n" in text
    assert "#qmdump#map:scsi0:drive-scsi0:vmstore:qcow2:\n" in text
    upid = backup_server.ok("POST", VM, vmid=601, archive=volid, name="again", unique=1)
    assert backup_server.ended(upid) == "OK"
    log = backup_server.log(upid)
    assert "new volume ID is 'vmstore:601/vm-601-disk-0.qcow2'" in log
    kinds = [line.partition(":")[0] for line in log if line.startswith("restore ")]
    assert kinds[0] == {"pbs": "restore proxmox backup image", "local": "restore vma archive"}[storage]
    old, new = backup_server.config(600), backup_server.config(601)
    assert (new["name"], new["scsi0"]) == ("again", "vmstore:601/vm-601-disk-0.qcow2,size=2G")
    assert all(old[key] != new[key] for key in ("net0", "smbios1", "vmgenid"))


def test_a_restore_from_a_snapshot_that_is_gone_leaves_an_empty_vm(backup_server: Pve) -> None:
    status = backup_server.task("POST", VM, vmid=601, archive=GONE)
    assert (status.startswith("command '/usr/bin/proxmox-backup-client restore "), status[-13:]) == (
        True,
        "exit code 255",
    )
    assert list(backup_server.config(601)) == ["digest"]
    before = backup_server.config(600)
    assert backup_server.task("POST", VM, vmid=600, archive=GONE, force=1).endswith("exit code 255")
    assert backup_server.config(600) == before
    local = "local:backup/vzdump-qemu-602-2020_01_01-00_00_00.vma"
    assert backup_server.message("POST", VM, vmid=602, archive=local) == (
        500,
        f"volume '{local}' does not exist",
    )
    assert backup_server.send("GET", f"{VM}/602/config").status_code == 500


def test_a_full_server_fails_the_backup(backup_server: Pve) -> None:
    backup_server.control.patch("/storages/pbs", json={"other_used": 4096 * 1024**3}).raise_for_status()
    upid = backup_server.ok("POST", "/nodes/pve1/vzdump", vmid=600, storage="pbs")
    assert backup_server.ended(upid) == "job errors"
    assert any("ENOSPC: No space left on device" in line for line in backup_server.log(upid))
    assert (backup_server.backups("pbs", 600), "lock" in backup_server.config(600)) == ([], False)
