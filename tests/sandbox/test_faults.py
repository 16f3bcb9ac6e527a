"""Faults: which request they strike, when, and how."""

import time

import httpx
import pytest

from tests.sandbox.requests import VM, Pve


def test_a_fault_by_index_strikes_that_request_only(pve: Pve) -> None:
    pve.control.delete("/requests")
    pve.fault(
        index=2, status=500, message="can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout"
    )
    assert [pve.send("GET", "/version").status_code for _ in range(3)] == [200, 500, 200]


def test_a_fault_by_pattern_counts_and_skips(pve: Pve) -> None:
    pve.fault(method="GET", path="^/version$", status=596, empty=True, skip=1, count=2)
    answers = [pve.send("GET", "/version") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 596, 596, 200]
    assert answers[1].content == b""
    assert pve.control.get("/faults").json()[0]["struck"] == 2


def test_a_fault_after_the_effect_hides_a_success(pve: Pve) -> None:
    pve.fault(method="POST", path="/clone$", status=595, empty=True, when="after")
    assert pve.send("POST", f"{VM}/9000/clone", newid=310).status_code == 595
    tasks = pve.ok("GET", "/nodes/pve1/tasks", source="all", typefilter="qmclone", limit=1)
    assert pve.ended(tasks[0]["upid"]) == "OK"
    assert pve.config(310)["name"] == "Copy-of-VM-debian12-cloud"


@pytest.mark.parametrize(("when", "made"), [("before", False), ("after", True)])
def test_a_cut_connection_before_or_after_the_effect(pve: Pve, when: str, made: bool) -> None:
    pve.fault(method="POST", path="^/pools$", reset=True, when=when)
    with pytest.raises(httpx.TransportError):
        pve.send("POST", "/pools", poolid="cut")
    assert [pool["poolid"] for pool in pve.ok("GET", "/pools")] == (["cut"] if made else [])
    last = pve.control.get("/requests").json()["requests"]
    assert next(r["status"] for r in last if r["path"] == "/pools" and r["method"] == "POST") == -1


def test_a_delay_holds_the_answer_back(pve: Pve) -> None:
    pve.fault(path="^/version$", delay=0.2)
    began = time.monotonic()
    pve.ok("GET", "/version")
    assert time.monotonic() - began >= 0.2


def test_a_silent_request_is_never_answered(pve: Pve) -> None:
    pve.fault(path="^/version$", silent=True)
    with pytest.raises(httpx.ReadTimeout):
        pve.sandbox.api.get("/version", timeout=0.2)


def test_a_silent_fault_says_when_its_request_has_had_its_effect(pve: Pve) -> None:
    pve.fault(method="POST", path="^/pools$", silent=True, when="after")
    assert pve.control.get("/faults").json()[0]["silenced"] == 0
    with pytest.raises(httpx.ReadTimeout):
        pve.sandbox.api.post("/pools", data={"poolid": "kept"}, timeout=0.2)
    assert pve.control.get("/faults").json()[0]["silenced"] == 1
    assert [pool["poolid"] for pool in pve.ok("GET", "/pools")] == ["kept"]


def test_a_task_can_fail_late(pve: Pve) -> None:
    pve.fault(method="POST", path="/clone$", task_fails="clone failed: unexpected end of file")
    assert pve.task("POST", f"{VM}/9000/clone", newid=311) == "clone failed: unexpected end of file"


def test_a_task_that_hangs_can_be_stopped(pve: Pve) -> None:
    pve.fault(method="POST", path="/status/start$", task_hangs=True)
    pve.clone(312)
    upid = pve.ok("POST", f"{VM}/312/status/start")
    time.sleep(0.1)
    assert pve.ok("GET", f"/nodes/pve1/tasks/{upid}/status")["status"] == "running"
    pve.ok("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert pve.ended(upid) == "interrupted by signal"


def test_a_fault_can_be_disarmed(pve: Pve) -> None:
    number = pve.fault(path="^/version$", status=403, message="Permission check failed", count=None)
    assert pve.message("GET", "/version") == (403, "Permission check failed")
    pve.control.delete(f"/faults/{number}").raise_for_status()
    pve.ok("GET", "/version")
