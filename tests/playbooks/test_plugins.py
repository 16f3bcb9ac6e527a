"""The action plugins one by one, on servers that exist."""

import pytest

from jotunheim.repositories.proxmox import api_path
from tests.playbooks.pve_playbooks import Playbooks, Sandbox, Unsafe

GIB = 1024**3


@pytest.fixture
def built(playbooks: Playbooks, sandbox: Sandbox) -> Playbooks:
    """A server of ours as the clone leaves it: marked, stopped, not configured."""
    with sandbox.client() as pve:
        mark = "jotunheim:server=00000000-0000-0000-0000-000000000001"
        path = api_path("nodes", "pve1", "qemu", 9000, "clone")
        pve.run(
            "clone", "POST", path, timeout_seconds=10, newid=1101, name="web-1", full=True, description=mark
        )
    sandbox.change(1101, config={"net0": "virtio=BC:24:11:00:00:41,bridge=vmbr0,queues=4,mtu=1400"})
    return playbooks


def test_disks_grow_and_never_shrink(built: Playbooks, sandbox: Sandbox) -> None:
    run = built.tasks(
        {"vm_disk": {"size_bytes": 1 * GIB}},
        {"vm_disk": {"size_bytes": 3 * GIB + 1}},
        {"vm_disk": {"size_bytes": 3 * GIB, "device": "scsi5"}},
        {"vm_disk": {"size_bytes": 3 * GIB}},
        {"vm_disk": {"size_bytes": 3 * GIB}},
        {"vm_config": {"memory_bytes": 1000}},
    )
    shrink, uneven, missing, grown, again, memory = run.all
    assert shrink["error"]["code"] == "invalid_input"
    assert "cannot shrink" in shrink["msg"]
    assert uneven["error"]["code"] == "invalid_input"
    assert missing["error"]["code"] == "node_not_found"
    assert grown["diff"]["after"]["scsi0.size_bytes"] == 3 * GIB
    assert len(grown["upids"]) == 1
    assert again["changed"] is False
    assert memory["error"]["code"] == "invalid_input"
    assert sandbox.vm(1101)["config"]["scsi0"].endswith("size=3G")


def test_a_network_device_keeps_its_mac_and_what_we_do_not_know(built: Playbooks, sandbox: Sandbox) -> None:
    run = built.tasks(
        {"vm_network": {"model": "e1000", "vlan": 7, "mtu": 0}},
        {"vm_network": {"model": "e1000", "vlan": 7, "mtu": 0}},
        {"vm_network": {"index": 1, "bridge": "vmbr0"}},
        {"vm_network": {"index": 1, "bridge": "vmbr0"}},
        {"vm_network": {"vlan": 0, "model": "virtio"}},
        {"vm_network": {"model": "ne2000"}},
    )
    first, again, added, added_again, back, unknown = run.all
    assert first["diff"]["after"] == {
        "smbios1.uuid": "00000000-0000-0000-0000-000000000001",
        "net0.model": "e1000",
        "net0.mtu": None,
        "net0.tag": "7",
    }
    assert again["changed"] is added_again["changed"] is False
    assert added["changed"] is back["changed"] is True
    assert unknown["error"]["code"] == "invalid_input"
    config = sandbox.vm(1101)["config"]
    assert config["net0"] == "virtio=BC:24:11:00:00:41,bridge=vmbr0,queues=4"
    assert config["net1"].startswith("virtio=")


def test_a_password_is_set_once_or_when_it_shall_be_renewed(built: Playbooks, sandbox: Sandbox) -> None:
    sandbox.change(1101, config={"cipassword": "$5$of-the-template"})
    run = built.tasks({"vm_cloudinit": {}}, {"vm_cloudinit": {}}, {"vm_cloudinit": {"renew_password": True}})
    first, again, renewed = run.all
    assert first["diff"]["after"]["cipassword"] == "********"
    assert again["changed"] is False
    assert renewed["diff"] == {"before": {"cipassword": "********"}, "after": {"cipassword": "********"}}
    assert "of-the-template" not in sandbox.vm(1101)["config"]["cipassword"]
    assert "canary-cloudinit-password" not in run.output + repr(run.results)


def test_power_states_are_reached_and_kept(built: Playbooks, sandbox: Sandbox) -> None:
    states = [
        "stopped",
        "reset",
        "started",
        "rebooted",
        "reset",
        "shutdown",
        "shutdown",
        "started",
        "stopped",
    ]
    run = built.tasks(*({"vm_power": {"state": state}} for state in states))
    assert [result["changed"] for result in run.all] == [
        False,
        True,
        False,
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    assert sandbox.vm(1101)["status"] == "stopped"


def test_a_guest_that_does_not_shut_down_is_stopped_if_wanted(built: Playbooks, sandbox: Sandbox) -> None:
    sandbox.change(1101, status="running")
    sandbox.change(1101, agent=False)
    shutdown = {"state": "shutdown", "timeout_seconds": 1}
    run = built.tasks({"vm_power": shutdown}, {"vm_power": shutdown | {"force": True}})
    assert run.all[0]["error"]["code"] == "shutdown_timeout"
    assert run.all[0]["error"]["retryable"] is True
    assert "force" in run.all[0]["error"]["hint"]
    assert run.all[1]["changed"] is True
    assert sandbox.vm(1101)["status"] == "stopped"


def test_check_mode_predicts_tasks_that_build_on_each_other(built: Playbooks, sandbox: Sandbox) -> None:
    tasks = [
        {"vm_config": {"cores": 2, "disk": {"size_bytes": 3 * GIB}}},
        {"vm_disk": {"size_bytes": 4 * GIB}},
        {"vm_cloudinit": {"user": "ci"}},
        {"vm_cloudinit": {"user": "ci"}},
        {"vm_power": {"state": "started"}},
    ]
    before = sandbox.vm(1101)
    check = built.tasks(*tasks, arguments=("--check",))
    assert sandbox.vm(1101) == before
    real = built.tasks(*tasks)
    assert check.diffs == real.diffs
    assert check.changed == real.changed == ["0", "1", "2", "4"]
    assert "canary-cloudinit-password" not in check.output + repr(check.results)


def test_a_start_that_an_earlier_attempt_won_is_no_failure(built: Playbooks, sandbox: Sandbox) -> None:
    sandbox.fault(method="POST", path="/status/start$", task_fails="VM 1101 already running")
    assert built.tasks({"vm_power": {"state": "started"}}).all[0]["changed"] is True


def test_what_is_not_there_and_an_agent_that_is_silent_are_facts(built: Playbooks, sandbox: Sandbox) -> None:
    nothing = built.tasks({"vm_info": {}}, {"vm_config": {"cores": 2}}, pve_vmid=1199)
    assert nothing.all[0]["vm"] == {
        "exists": False,
        "owned": False,
        "vmid": 1199,
        "node": "pve1",
        "uuid": "00000000-0000-0000-0000-000000000001",
    }
    assert nothing.all[1]["error"]["code"] == "vm_not_found"
    sandbox.change(1101, status="running")
    sandbox.change(1101, agent=False)
    run = built.tasks({"vm_info": {"agent_timeout_seconds": 1}})
    assert run.all[0]["vm"]["agent"] == {"enabled": True, "asked": True, "answered": False, "addresses": []}
    sandbox.change(1101, agent=True)
    run = built.tasks({"vm_info": {"agent_timeout_seconds": 1}})
    assert run.all[0]["vm"]["agent"]["answered"] is True


def test_a_vm_that_is_not_ours_is_not_touched(built: Playbooks, sandbox: Sandbox) -> None:
    before = sandbox.vm(1101)
    sandbox.forget_requests()
    run = built.tasks(
        {"vm_config": {"cores": 4}},
        {"vm_cloudinit": {"user": "mallory"}},
        {"vm_network": {"bridge": "vmbr0", "vlan": 2}},
        {"vm_disk": {"size_bytes": 9 * GIB}},
        {"vm_power": {"state": "started"}},
        {"vm_info": {"require_owned": True}},
        {"vm_info": {}},
        pve_uuid="99999999-0000-0000-0000-000000000001",
    )
    *refused, seen = run.all
    assert {result["error"]["code"] for result in refused} == {"vm_not_ours"}
    assert (seen["vm"]["exists"], seen["vm"]["owned"]) == (True, False)
    assert {request.split()[0] for request in sandbox.requests()} == {"GET"}
    assert sandbox.vm(1101) == before


def test_locks_changes_in_between_and_late_failures_have_their_codes(
    built: Playbooks, sandbox: Sandbox
) -> None:
    sandbox.change(1101, lock="backup")
    locked = built.tasks({"vm_config": {"cores": 3}}, {"vm_power": {"state": "started"}})
    assert locked.all[0]["error"]["code"] == "vm_locked"
    assert locked.all[0]["error"]["retryable"] is True
    assert "error" in locked.all[1]
    sandbox.change(1101, lock=None)
    sandbox.fault(
        method="PUT", path="/config$", status=500, message="checksum mismatch (file change by other user?)"
    )
    sandbox.change(1101, config={"net0": "virtio=BC:24:11:00:00:41,bridge=vmbr9"})
    run = built.tasks(
        {"vm_config": {"cores": 3, "description": Unsafe("x")}},
        {"vm_config": {"tags": ["bad!tag"], "cpu_type": "nosuchcpu"}},
        {"vm_power": {"state": "started"}},
        {"vm_power": {"state": "flying"}},
    )
    changed, parameters, late, wrong = run.all
    assert (changed["error"]["code"], changed["error"]["retryable"]) == ("config_changed", True)
    assert "tags: " in parameters["msg"]
    assert "cpu: " in parameters["msg"]
    sandbox.forget_refused("tags")
    assert late["error"]["code"] == "task_failed"
    assert "vmbr9" in late["msg"]
    assert len(late["upids"]) == 1
    assert wrong["error"]["code"] == "invalid_input"
    assert "Traceback" not in run.output
