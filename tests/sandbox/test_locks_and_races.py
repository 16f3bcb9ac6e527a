"""Time and locks: what happens while something else is under way."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.sandbox.requests import VM, Pve


def test_two_clones_onto_one_id_cannot_both_succeed(pve: Pve) -> None:
    pve.scale(0.02)

    def clone(_: int) -> str:
        answer = pve.send("POST", f"{VM}/9000/clone", newid=320, full=1)
        return pve.ended(answer.json()["data"]) if answer.is_success else answer.json()["message"].strip()

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(clone, range(4)))
    assert outcomes.count("OK") == 1
    refused = {"unable to create VM 320: config file already exists"}
    timed_out = {"can't lock file '/var/lock/qemu-server/lock-320.conf' - got timeout"}
    assert set(outcomes) <= {"OK"} | refused | timed_out
    assert len(pve.control.get("/vms/320").json()["disks"]) == 2


def test_a_vm_shows_little_while_it_is_cloned(pve: Pve) -> None:
    pve.scale(0.2)
    upid = pve.ok("POST", f"{VM}/9000/clone", newid=321, full=1, name="mine", description="ours")
    time.sleep(0.05)
    config = pve.config(321)
    assert sorted(config) == ["description", "digest", "lock"]
    assert config["lock"] == "clone"
    assert pve.ended(upid) == "OK"
    assert (pve.config(321)["name"], pve.config(321)["description"]) == ("mine", "ours")


def test_a_start_waits_for_the_clone(pve: Pve) -> None:
    pve.scale(0.05)
    clone = pve.ok("POST", f"{VM}/9000/clone", newid=322, full=1)
    time.sleep(0.03)
    start = pve.ok("POST", f"{VM}/322/status/start")
    assert (pve.ended(start), pve.ended(clone)) == ("OK", "OK")
    log = [line["t"] for line in pve.ok("GET", f"/nodes/pve1/tasks/{start}/log")]
    assert log[:2] == ["trying to acquire lock...", " OK"]


def test_a_lock_that_is_never_free_times_out(pve: Pve) -> None:
    pve.scale(0.01)
    pve.control.patch("/settings", json={"rates": {"clone": 100_000}}).raise_for_status()
    try:
        clone = pve.ok("POST", f"{VM}/9000/clone", newid=323, full=1)
        time.sleep(0.05)
        locked = "can't lock file '/var/lock/qemu-server/lock-323.conf' - got timeout"
        assert pve.message("PUT", f"{VM}/323/config", memory=512) == (500, locked)
        pve.ok("DELETE", f"/nodes/pve1/tasks/{clone}")
        assert "interrupted by signal" in pve.ended(clone)
    finally:
        pve.control.patch("/settings", json={"rates": {"clone": 700 * 1024**2}}).raise_for_status()
    assert pve.send("GET", f"{VM}/323/config").status_code == 500


def test_clones_of_one_template_run_side_by_side(pve: Pve) -> None:
    pve.scale(0.05)
    began = time.monotonic()
    upids = [pve.ok("POST", f"{VM}/9000/clone", newid=330 + n, full=1) for n in range(8)]
    assert {pve.ended(upid) for upid in upids} == {"OK"}
    assert time.monotonic() - began < 8 * 0.05 * 2.9


def test_a_backup_locks_the_configuration(pve: Pve) -> None:
    pve.clone(340)
    pve.scale(0.1)
    upid = pve.ok("POST", "/nodes/pve1/vzdump", vmid=340, storage="local", compress="zstd")
    time.sleep(0.05)
    assert pve.message("PUT", f"{VM}/340/config", memory=512) == (500, "VM is locked (backup)")
    assert pve.ended(upid) == "OK"
    pve.ok("PUT", f"{VM}/340/config", memory=512)


def test_a_refused_request_waits_three_scaled_seconds(pve: Pve) -> None:
    pve.scale(0.1)
    began = time.monotonic()
    refused = pve.sandbox.api.get("/version", headers={"Authorization": "PVEAPIToken=root@pam!x=y"})
    assert (refused.status_code, refused.content, time.monotonic() - began >= 0.3) == (401, b"", True)
