"""The playbooks for snapshots."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.playbooks.pve_playbooks import Playbooks, Run, Sandbox, Unsafe

PATH = "nodes/pve1/qemu/1101"


def run(playbooks: Playbooks, playbook: str, **changes: Any) -> Run:
    variables = {"pve_snapshot_name": Unsafe("clean"), "pve_info_snapshots": True} | changes
    return playbooks.run(playbook, playbooks.inventory(web_1=playbooks.server(**variables)), "--diff")


@pytest.fixture
def server(sandbox: Sandbox) -> int:
    """A running server."""
    vmid = sandbox.own_server()
    sandbox.start(vmid)
    return vmid


def take(sandbox: Sandbox, name: str) -> None:
    with sandbox.client() as pve:
        pve.run("snapshot", "POST", f"{PATH}/snapshot", timeout_seconds=10, snapname=name)
    sandbox.forget_requests()


def break_snapshot(sandbox: Sandbox, name: str, lock: str | None) -> None:
    """As a node leaves it that lost power while it took the snapshot."""
    state = sandbox.state()
    state["vms"]["1101"]["snapshots"][name]["snapstate"] = "prepare"
    sandbox.control("PUT", "/state", **state)
    if lock:
        sandbox.change(1101, lock=lock)


def test_a_snapshot_with_memory_is_taken_and_gone_back_to(
    playbooks: Playbooks, sandbox: Sandbox, server: int
) -> None:
    hostile = Unsafe("{{ 7*7 }} $(touch /tmp/x)")
    taken = run(
        playbooks,
        "snapshot_create.yml",
        pve_snapshot_with_memory=True,
        pve_snapshot_description=hostile,
    )
    assert taken.code == 0, taken.output
    (found,) = taken.of("vm_info")["vm"]["snapshots"]
    created = datetime.fromisoformat(found.pop("created_at"))
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    assert found == {"name": "clean", "description": hostile, "with_memory": True, "parent": None}

    sandbox.change(server, status="stopped")
    back = run(playbooks, "snapshot_rollback.yml", pve_snapshot_start=True)
    assert back.of("vm_info")["vm"]["status"] == "running"
    assert back.diffs["Bring the snapshot to the wanted state"]["after"] == {
        "rolled_back_to": "clean",
        "status": "running",
    }
    assert len(sandbox.tasks("qmstart")) == 1, "its memory came back with it"


def test_each_failure_has_its_code_and_changes_nothing(
    playbooks: Playbooks, sandbox: Sandbox, server: int
) -> None:
    take(sandbox, "clean")
    take(sandbox, "broken")
    break_snapshot(sandbox, "broken", lock=None)
    before = sandbox.vm(server)
    taking, going, deleting = (
        {"vm_snapshot": {"state": state}} for state in ("present", "rolled_back", "absent")
    )
    wanted: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
        (taking, {"name": "more", "limit": 2}, "resource_limit_exceeded"),
        (taking, {"name": "clean", "limit": 2}, None),
        (taking, {"name": "broken"}, "snapshot_broken"),
        (going, {"name": "broken"}, "snapshot_broken"),
        (going, {"name": "missing"}, "snapshot_not_found"),
        (deleting, {"name": "missing"}, None),
        *(
            (taking, {"name": name}, "invalid_input")
            for name in ("current", "Pending", "x", "1st", "a b", "a" * 41, "../../x")
        ),
        (deleting, {"name": "current"}, "invalid_input"),
        (taking, {"name": "other", "state": "gone"}, "invalid_input"),
    ]
    tasks = [{"vm_snapshot": task["vm_snapshot"] | options} for task, options, _ in wanted]
    results = playbooks.tasks(*tasks).all
    assert [result.get("error", {}).get("code") for result in results] == [code for *_, code in wanted]
    assert results[6]["msg"].startswith("name: ")
    assert "qm delsnapshot 1101 broken --force" in results[2]["error"]["hint"]
    assert sandbox.vm(server)["config"] == before["config"]
    assert {request.split()[0] for request in sandbox.requests()} == {"GET"}

    sandbox.change(server, lock="backup")
    locked = playbooks.tasks(
        {"vm_snapshot": {"state": "present", "name": "more"}},
        {"vm_snapshot": {"state": "present", "name": "clean"}},
        {"vm_snapshot": {"state": "rolled_back", "name": "clean"}},
        {"vm_snapshot": {"state": "absent", "name": "clean"}},
        {"vm_snapshot": {"state": "absent", "name": "broken"}},
    ).all
    codes = [result.get("error", {}).get("code") for result in locked]
    assert codes == ["vm_locked", None, "vm_locked", "vm_locked", "snapshot_broken"]
    assert locked[0]["error"]["retryable"] is True

    sandbox.change(server, lock=None)
    foreign = {"pve_uuid": "99999999-0000-0000-0000-000000000001"}
    refused = playbooks.tasks(
        tasks[1],
        {"vm_snapshot": {"state": "absent", "name": "clean"}},
        {"vm_snapshot": {"state": "rolled_back", "name": "clean"}},
        {"vm_restart": {"restart": "if_needed"}},
        {"vm_password": {"user": "debian"}},
        {"vm_power": {"state": "rebooted"}},
        **foreign,
    )
    assert {result["error"]["code"] for result in refused.all} == {"vm_not_ours"}
    gone = playbooks.tasks({"vm_snapshot": {"state": "absent", "name": "broken"}}).all
    assert gone[0]["changed"] is True, "without a lock an unfinished snapshot can be deleted"


def test_what_an_earlier_attempt_began_is_continued_and_not_repeated(
    playbooks: Playbooks, sandbox: Sandbox, server: int
) -> None:
    notes = playbooks.with_journal() / "web-1"
    take(sandbox, "clean")
    for _ in range(2):
        back = run(playbooks, "snapshot_rollback.yml", pve_snapshot_start=True)
        assert back.code == 0, back.output
        assert back.of("vm_info")["vm"]["status"] == "running"
        sandbox.change(server, status="stopped")  # the second attempt starts it again
    assert len(sandbox.tasks("qmrollback")) == 1

    sandbox.control("PATCH", "/settings", durations={"snapshot": 60.0})
    first = playbooks.start("snapshot_delete.yml", playbooks.folder / "inventory.yml")
    deadline = time.monotonic() + 20
    while "snapshot delete" not in notes.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.communicate(timeout=10)
    done = run(playbooks, "snapshot_delete.yml")
    assert done.code == 0, done.output
    (task,) = sandbox.tasks("qmdelsnapshot")
    assert done.of("vm_snapshot")["upids"] == [task["upid"]]
    assert done.of("vm_info")["vm"]["snapshots"] == []
