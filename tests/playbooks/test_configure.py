"""`server_configure.yml`: every setting of a server that exists, and the restart that some of them wait for."""

from pathlib import Path
from typing import Any

import pytest

from tests.playbooks.pve_playbooks import KEY, Playbooks, Run, Sandbox, Unsafe

GIB = 1024**3
NIC = "virtio=BC:24:11:00:00:41,bridge=vmbr0,queues=4,mtu=1400"
BARE = {
    f"pve_config_{name}": None
    for name in (
        *("name", "cores", "memory_bytes", "cpu_type", "tags", "description", "onboot", "agent"),
        *("networks", "cloudinit", "disk"),
    )
}
CHANGE: dict[str, Any] = {
    "pve_config_name": Unsafe("web-renamed"),
    "pve_config_cores": 4,
    "pve_config_memory_bytes": 3 * GIB,
    "pve_config_tags": ["db"],
    "pve_config_description": Unsafe("Another"),
    "pve_config_onboot": True,
    "pve_config_agent": False,
    "pve_config_networks": [
        {
            "bridge": "vmbr0",
            "model": "e1000",
            "vlan": 7,
            "rate_bytes_per_second": 1_048_576,
            "firewall": True,
        },
        {"index": 1, "bridge": "vmbr0", "mtu": 9000},
    ],
    "pve_config_cloudinit": {
        "user": "admin",
        "ssh_keys": [Unsafe(f"{KEY} new@example.com")],
        "ip_configs": [{"ipv4_address": "10.99.0.77/24", "ipv4_gateway": "10.99.0.1"}],
        "nameservers": ["10.99.0.1"],
    },
    "pve_config_disk": {"size_bytes": 3 * GIB},
    "pve_config_boot_order": ["net1", "scsi0"],
    "pve_cloudinit_password": None,
}
PENDING = dict.fromkeys(["agent", "boot", "cores", "memory"], "pending")
UNSEEN = dict.fromkeys(["ciuser", "ipconfig0", "name", "nameserver", "net1", "sshkeys"], "needs_restart")


def configure(playbooks: Playbooks, **changes: Any) -> Run:
    server = playbooks.server(**BARE | {"pve_info_pending": True} | changes)
    return playbooks.run("server_configure.yml", playbooks.inventory(web_1=server), "--diff")


@pytest.fixture
def server(sandbox: Sandbox) -> int:
    """A running server whose network device has options that we do not know."""
    vmid = sandbox.own_server(net0=NIC, cores=1, memory="1024")
    sandbox.start(vmid)
    return vmid


def test_a_running_server_takes_what_it_can_and_says_what_waits(
    playbooks: Playbooks, sandbox: Sandbox, server: int
) -> None:
    run = configure(playbooks, **CHANGE)
    assert run.code == 0, run.output
    restart, info = run.of("vm_restart"), run.of("vm_info")["vm"]
    assert (restart["changed"], restart["restarted"]) == (False, False)
    assert restart["waiting"] == info["waiting"] == dict(sorted((PENDING | UNSEEN).items()))
    config = sandbox.vm(server)["config"]
    assert config["net0"] == "e1000=BC:24:11:00:00:41,bridge=vmbr0,firewall=1,mtu=1400,queues=4,rate=1,tag=7"
    assert config["net1"].endswith(",bridge=vmbr0,mtu=9000")
    assert (config["name"], config["tags"], config["onboot"]) == ("web-renamed", "db", 1)
    assert config["scsi0"].endswith("size=3G")
    assert (config["cores"], config["memory"]) == (1, "1024")

    # Later, what Proxmox VE tells of it is still known, and a restart applies it once.
    later = configure(playbooks, **CHANGE | {"pve_restart_restart": "if_needed"})
    assert later.changed == ["Restart if changes wait for it"]
    assert later.of("vm_restart")["restarted"] is True
    assert later.of("vm_restart")["waiting"] == later.of("vm_info")["vm"]["waiting"] == {}
    known = PENDING | dict.fromkeys(["ciuser", "nameserver", "sshkeys"], "needs_restart")
    assert later.diffs["Restart if changes wait for it"]["before"] == {
        "status": "running",
        **{f"waiting.{key}": state for key, state in known.items()},
    }
    config = sandbox.vm(server)["config"]
    assert (config["cores"], config["memory"], config["agent"]) == (4, "3072", "0")
    assert config["boot"] == "order=net1;scsi0"
    assert configure(playbooks, **CHANGE | {"pve_restart_restart": "if_needed"}).changed == []
    assert len(sandbox.tasks("qmreboot")) == 1


def test_what_cannot_be_is_refused_with_all_reasons_before_anything_is_written(
    playbooks: Playbooks, sandbox: Sandbox, server: int
) -> None:
    sandbox.own_server(2)
    wrong: dict[str, dict[str, Any]] = {
        "shrunk": {
            "pve_config_disk": {"size_bytes": GIB},
            "pve_config_boot_order": ["scsi0", "net7", "scsi0"],
        },
        "bridge": {"pve_config_networks": [{"bridge": "vmbr9"}]},
        "no_disk": {"pve_config_disk": {"size_bytes": 9 * GIB, "device": "scsi7"}},
        "no_order": {"pve_config_boot_order": []},
        "strange": {"pve_config_boot_order": ["floppy0"]},
    }
    hosts = {
        f"{host}_{number}": playbooks.server(number, **BARE | {"pve_config_cores": 8} | changes)
        for host, changes in wrong.items()
        for number in (1, 2)
    }
    before = sandbox.state()
    run = playbooks.run("server_configure.yml", playbooks.inventory(**hosts), "--forks", "10")
    assert sandbox.state() == before
    errors = {host: result["error"] for host, result in run.by_host().items()}
    assert len(errors) == len(hosts)
    for number in (1, 2):
        shrunk = errors[f"shrunk-{number}"]["message"]
        assert errors[f"shrunk-{number}"]["code"] == "invalid_input"
        assert "size_bytes: scsi0 has" in shrunk
        assert "boot_order: the VM has no device net7. boot_order: names scsi0 twice." in shrunk
        assert "bridge: node pve1 has no bridge vmbr9 for net0" in errors[f"bridge-{number}"]["message"]
        assert errors[f"no-disk-{number}"]["code"] == "node_not_found"
        assert "boot_order: must name" in errors[f"no-order-{number}"]["message"]
        assert "boot_order: 'floppy0' is no device" in errors[f"strange-{number}"]["message"]


def test_a_restart_of_an_earlier_attempt_is_not_repeated_and_a_forced_one_is_finished(
    playbooks: Playbooks, sandbox: Sandbox, server: int
) -> None:
    notes = playbooks.with_journal() / "web-1"
    sandbox.change(server, agent=False)  # the guest does not shut down
    wanted = {"pve_config_cores": 2, "pve_restart_restart": "if_needed", "pve_restart_timeout_seconds": 1}
    slow = configure(playbooks, **wanted)
    assert (slow.error["code"], slow.error["retryable"]) == ("shutdown_timeout", True)
    assert sandbox.vm(server)["status"] == "running"

    sandbox.fault(method="POST", path="/status/start$", reset=True)
    cut = configure(playbooks, **wanted, pve_restart_force=True)
    assert cut.error["code"] == "node_unavailable"
    assert sandbox.vm(server)["status"] == "stopped"
    again = configure(playbooks, **wanted, pve_restart_force=True)
    assert again.code == 0, again.output
    assert again.of("vm_restart")["restarted"] is True
    assert again.of("vm_info")["vm"]["waiting"] == {}
    assert sandbox.vm(server)["status"] == "running"
    operations = [note.rpartition(" ")[0] for note in notes.read_text().splitlines()]
    assert operations == ["restart", "restart", "restart stop", "restart start"]

    Path(notes).write_text(f"restart {sandbox.tasks('qmstart')[0]['upid']}\n")  # any task that ended well
    reboots = len(sandbox.tasks("qmreboot"))
    more = configure(playbooks, **wanted | {"pve_config_cores": 3})
    assert more.of("vm_restart")["restarted"] is True
    assert more.of("vm_restart")["waiting"] == {"cores": "pending"}
    assert len(sandbox.tasks("qmreboot")) == reboots


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_restart_for_what_only_the_guest_sees_is_made_by_a_later_attempt_unless_it_was(
    playbooks: Playbooks, sandbox: Sandbox, server: int, when: str
) -> None:
    playbooks.with_journal()
    address = {"ip_configs": [{"ipv4_address": "10.99.0.78/24", "ipv4_gateway": "10.99.0.1"}]}
    wanted = {"pve_config_cloudinit": address, "pve_restart_restart": "if_needed"}
    sandbox.fault(method="POST", path="/status/reboot$", reset=True, when=when)
    assert configure(playbooks, **wanted).error["code"] == "node_unavailable"
    again = configure(playbooks, **wanted)
    assert again.code == 0, again.output
    restart = again.of("vm_restart")
    assert (restart["restarted"], restart["waiting"]) == (True, {})
    assert len(sandbox.tasks("qmreboot")) == 1


def test_a_stopped_server_waits_for_nothing_and_stays_stopped(playbooks: Playbooks, sandbox: Sandbox) -> None:
    vmid = sandbox.own_server()
    run = configure(playbooks, **CHANGE | {"pve_restart_restart": "if_needed"})
    assert run.code == 0, run.output
    restart = run.of("vm_restart")
    assert (restart["changed"], restart["restarted"], restart["waiting"]) == (False, False, {})
    assert sandbox.vm(vmid)["status"] == "stopped"
    assert sandbox.vm(vmid)["config"]["cores"] == 4
