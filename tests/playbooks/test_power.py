"""`server_power.yml`, `server_suspend.yml` and `server_unsuspend.yml`."""

from typing import Any

from tests.playbooks.pve_playbooks import Playbooks, Run, Sandbox

BARE = {
    f"pve_config_{name}": None
    for name in (
        *("name", "cores", "memory_bytes", "cpu_type", "tags", "description", "onboot", "agent"),
        *("networks", "cloudinit", "disk"),
    )
}


def run(playbooks: Playbooks, playbook: str, **changes: Any) -> Run:
    return playbooks.run(playbook, playbooks.inventory(web_1=playbooks.server(**BARE | changes)), "--diff")


def test_a_command_that_an_earlier_attempt_carried_out_is_not_repeated(
    playbooks: Playbooks, sandbox: Sandbox
) -> None:
    sandbox.own_server()
    playbooks.with_journal()
    # Of a stopped server a reboot is a start.
    first = run(playbooks, "server_power.yml", pve_power_state="rebooted")
    again = run(playbooks, "server_power.yml", pve_power_state="rebooted")
    assert first.of("vm_power")["status_before"] == "stopped"
    assert again.of("vm_power")["changed"] is True
    assert again.of("vm_info")["vm"]["status"] == "running"
    assert (len(sandbox.tasks("qmstart")), sandbox.tasks("qmreboot")) == (1, [])

    sandbox.fault(method="POST", path="/status/reset$", task_fails="no power")
    failed = run(playbooks, "server_power.yml", pve_power_state="reset")
    assert failed.error["code"] == "task_failed"
    for _ in range(2):
        done = run(playbooks, "server_power.yml", pve_power_state="reset")
        assert done.of("vm_power")["status_before"] == "running"
    assert len(sandbox.tasks("qmreset")) == 2


def test_a_server_is_suspended_and_comes_back(playbooks: Playbooks, sandbox: Sandbox) -> None:
    vmid = sandbox.own_server(onboot=1)
    sandbox.start(vmid)
    sandbox.change(vmid, agent=False)
    wanted = {"pve_config_onboot": False, "pve_power_state": "shutdown", "pve_power_timeout_seconds": 1}
    slow = run(playbooks, "server_suspend.yml", **wanted)
    assert (slow.error["code"], slow.error["retryable"]) == ("shutdown_timeout", True)
    assert sandbox.vm(vmid)["config"]["onboot"] == 0, "a restart of the node must not start it"

    forced = run(playbooks, "server_suspend.yml", **wanted, pve_power_force=True)
    assert forced.code == 0, forced.output
    assert forced.of("vm_info")["vm"]["status"] == "stopped"
    back = run(playbooks, "server_unsuspend.yml", pve_config_onboot=True)
    assert (back.of("vm_info")["vm"]["status"], back.of("vm_info")["vm"]["onboot"]) == ("running", True)
