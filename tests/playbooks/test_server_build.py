"""`server_build.yml`, really run against the sandbox over HTTPS."""

import time
from pathlib import Path
from typing import Any

import pytest

from jotunheim.repositories.proxmox import api_path
from tests.playbooks.pve_playbooks import KEY, Playbooks, Sandbox, Unsafe
from tests.support.processes import wait_for

BUILD_REQUESTS = [
    "GET /nodes/pve1/qemu/1101/config",
    "POST /nodes/pve1/qemu/9000/clone",
    "GET /nodes/pve1/qemu/1101/config",
    "PUT /nodes/pve1/qemu/1101/config",
    "PUT /nodes/pve1/qemu/1101/resize",
    "GET /nodes/pve1/qemu/1101/firewall/rules",
    "POST /nodes/pve1/qemu/1101/firewall/ipset",
    "POST /nodes/pve1/qemu/1101/firewall/ipset/ipfilter-net0",
    "PUT /nodes/pve1/qemu/1101/firewall/options",
    "POST /nodes/pve1/qemu/1101/status/start",
    "GET /nodes/pve1/qemu/1101/config",
    "GET /nodes/pve1/qemu/1101/status/current",
]


def foreign_vm(sandbox: Sandbox, vmid: int) -> None:
    """A VM that someone else made."""
    with sandbox.client() as pve:
        path = api_path("nodes", "pve1", "qemu", 9000, "clone")
        pve.run("clone", "POST", path, timeout_seconds=10, newid=vmid, name="theirs", description="theirs")


class TestBuild:
    def test_a_template_becomes_the_server_that_was_asked_for_once(
        self, by_hand: Playbooks, sandbox: Sandbox
    ) -> None:
        run = by_hand.build()
        assert run.code == 0, run.output
        vm = sandbox.vm(1101)
        config = vm["config"]
        assert vm["status"] == "running"
        assert config["name"] == "web-1"
        assert (config["cores"], config["memory"], config["cpu"]) == (2, "2048", "host")
        assert (config["tags"], config["onboot"]) == ("ci;web", 1)
        uuid = "00000000-0000-0000-0000-000000000001"
        assert config["description"] == f"jotunheim:server={uuid}\nThe first\nweb server"
        assert config["smbios1"] == f"uuid={uuid}"
        assert config["net0"].endswith(",bridge=vmbr0,firewall=1,rate=11.920929")
        assert config["ciuser"] == "debian"
        assert config["sshkeys"].endswith("%20admin%40example.com%0A")
        assert config["cipassword"].startswith("$")
        assert config["ipconfig0"] == "ip=10.99.0.10/24,gw=10.99.0.1"
        assert (config["nameserver"], config["searchdomain"]) == ("10.99.0.1 9.9.9.9", "example.com")
        assert config["scsi0"].endswith("size=3G")

        found = run.of("vm_info")["vm"]
        assert (found["exists"], found["owned"], found["status"]) == (True, True, "running")
        assert found["description"] == "The first\nweb server"
        upids = [upid for result in run.results for upid in result.result.get("upids", [])]
        assert [upid.split(":")[5] for upid in upids] == ["qmclone", "resize", "qmstart"]
        assert sandbox.requests() == BUILD_REQUESTS
        before = sandbox.vm(1101)
        sandbox.forget_requests()
        again = by_hand.build()
        assert again.code == 0
        assert again.changed == []
        assert again.diffs == {}
        assert {request.split()[0] for request in sandbox.requests()} == {"GET"}
        assert len(sandbox.requests()) == 8
        # Its guest has gone on booting in between.
        found = sandbox.vm(1101)
        by_time = {"uptime": found["uptime"], "counters": found["counters"], "agent_answers": True}
        assert found == before | by_time

    def test_check_mode_predicts_a_build_and_changes_nothing(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        before = sandbox.vms()
        check = playbooks.build("--check")
        assert check.code == 0, check.output
        assert sandbox.vms() == before
        assert {request.split()[0] for request in sandbox.requests()} == {"GET"}
        real = playbooks.build()
        assert check.diffs == real.diffs
        assert check.changed == real.changed
        assert len(real.diffs) == 4

    def test_check_mode_predicts_a_change_of_an_existing_server(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        playbooks.build()
        change = {
            "pve_config_cores": 4,
            "pve_config_memory_bytes": 3 * 1024**3,
            "pve_config_tags": [],
            "pve_config_description": Unsafe("Another"),
            "pve_config_networks": [{"bridge": "vmbr0", "vlan": 7, "rate_bytes_per_second": 0}],
            "pve_config_cloudinit": {"search_domain": "", "nameservers": []},
            "pve_config_disk": {"size_bytes": 4 * 1024**3},
        }
        before = sandbox.vm(1101)["config"]
        check = playbooks.build("--check", **change)
        assert sandbox.vm(1101)["config"] == before
        real = playbooks.build(**change)
        assert check.diffs == real.diffs
        (diff,) = real.diffs.values()
        assert diff["after"] == {
            "description": "jotunheim:server=00000000-0000-0000-0000-000000000001\nAnother",
            "cores": 4,
            "memory_bytes": 3 * 1024**3,
            "tags": None,
            "net0.rate": None,
            "net0.tag": "7",
            "nameserver": None,
            "searchdomain": None,
            "scsi0.size_bytes": 4 * 1024**3,
        }
        assert playbooks.build(**change).changed == []

    def test_a_template_without_cloud_init_drive_gets_one(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        sandbox.change(
            9000, config={"ide2": None, "smbios1": "uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089265,serial=abc"}
        )
        check = playbooks.build("--check", pve_clone_full=False)
        real = playbooks.build(pve_clone_full=False)
        assert real.code == 0, real.output
        assert check.diffs == real.diffs
        assert "cloudinit" in sandbox.vm(1101)["config"]["ide2"]
        assert playbooks.build(pve_clone_full=False).changed == []

    def test_a_stopped_server_can_be_wanted(self, playbooks: Playbooks, sandbox: Sandbox) -> None:
        assert playbooks.build(pve_power_state="stopped").code == 0
        assert sandbox.vm(1101)["status"] == "stopped"


class TestHostileStrings:
    def test_they_are_data_everywhere(self, playbooks: Playbooks, sandbox: Sandbox, tmp_path: Path) -> None:
        touched = tmp_path / "touched"
        hostile = Unsafe(
            f"{{{{ lookup('pipe','touch {touched}') }}}} {{% for x in y %}} ${{HOME}} $(touch {touched})"
        )
        changes: dict[str, Any] = {
            "pve_config_description": hostile,
            "pve_config_cloudinit": {"ssh_keys": [Unsafe(f"{KEY} {hostile}")]},
        }
        run = playbooks.build("-vvv", **changes)
        assert run.code == 0, run.output
        assert run.of("vm_info")["vm"]["description"] == hostile
        assert run.diffs["Configure CPU, memory, disk, network and cloud-init"]["after"]["sshkeys"] == [
            f"{KEY} {hostile}"
        ]
        assert playbooks.build(**changes).changed == []

        refused = playbooks.build(
            pve_vmid=1102,
            pve_uuid="00000000-0000-0000-0000-000000000002",
            pve_clone_name=hostile,
            pve_config_tags=[hostile],
        )
        assert "name" in refused.error["message"]
        assert refused.error["retryable"] is False
        assert 1102 not in sandbox.vms()
        sandbox.forget_refused("name")

        secret = playbooks.build("--check", pve_api_token_secret=hostile)
        assert secret.error["code"] == "node_unauthorized"
        assert not touched.exists()


class TestFailures:
    def test_each_has_its_code_and_leaves_the_other_hosts_alone(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        foreign_vm(sandbox, 1101)
        theirs = sandbox.vm(1101)
        servers = {
            "fine": playbooks.server(9),
            "taken": playbooks.server(1),
            "fingerprint": playbooks.server(2, pve_api_fingerprint="ab" * 32),
            "token": playbooks.server(3, pve_api_token_secret="wrong-canary"),
            "port": playbooks.server(4, pve_api_port=9),
            "node": playbooks.server(5, pve_node="nosuchnode"),
            "template": playbooks.server(6, pve_clone_template_vmid=4711),
            "variables": playbooks.server(7, pve_uuid="no-uuid", pve_vmid=None),
            "system_store": playbooks.server(8, pve_api_fingerprint=None),
        }
        run = playbooks.run("server_build.yml", playbooks.inventory(**servers), "--forks", "9")
        results = run.by_host()
        codes = {host: result["error"]["code"] for host, result in results.items() if "error" in result}
        assert codes == {
            "taken": "vmid_taken",
            "fingerprint": "certificate_mismatch",
            "token": "node_unauthorized",
            "port": "node_unavailable",
            "node": "node_not_found",
            "template": "vm_not_found",
            "variables": "invalid_input",
            "system-store": "certificate_mismatch",
        }
        assert results["fine"]["vm"]["status"] == "running"
        assert results["taken"]["taken_vmids"] == sorted({1101, 9000} | set(results["taken"]["taken_vmids"]))
        assert results["variables"]["msg"] == (
            "pve_vmid: is not set for this host. pve_uuid: has a value of the wrong type."
        )
        for host in codes:
            assert results[host]["msg"] == results[host]["error"]["message"]
        assert all(results[host]["error"]["hint"] for host in codes if host not in {"template", "variables"})
        assert results["port"]["error"]["retryable"] is True
        assert "Traceback" not in run.output
        assert "wrong-canary" not in run.output
        assert set(sandbox.vms()) == {1101, 1109, 9000}
        assert sandbox.vm(1101) == theirs


class TestRecovery:
    @pytest.fixture
    def slow_clones(self, sandbox: Sandbox) -> None:
        sandbox.control("PATCH", "/settings", rates={"clone": 8_000_000.0})

    def wait_for_lock(self, sandbox: Sandbox) -> None:
        deadline = time.monotonic() + 20
        while sandbox.vms().get(1101, {}).get("lock") != "clone":
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @pytest.mark.usefixtures("slow_clones")
    def test_a_build_killed_in_mid_clone_is_continued_with_the_same_clone(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        first = playbooks.start("server_build.yml", playbooks.inventory(web_1=playbooks.server()))
        self.wait_for_lock(sandbox)
        first.kill()
        first.communicate(timeout=10)
        sandbox.forget_requests()
        time.sleep(0.2)
        assert sandbox.requests(polls=True) == [], "an orphaned Ansible worker goes on"
        second = playbooks.build()
        assert second.code == 0, second.output
        assert sandbox.vm(1101)["status"] == "running"
        assert len(sandbox.tasks("qmclone")) == 1

    @pytest.mark.usefixtures("slow_clones")
    def test_a_noted_clone_is_waited_for_by_its_id(self, playbooks: Playbooks, sandbox: Sandbox) -> None:
        notes = playbooks.with_journal() / "web-1"
        first = playbooks.start("server_build.yml", playbooks.inventory(web_1=playbooks.server()))
        self.wait_for_lock(sandbox)
        wait_for(notes.exists, "the task's id")
        first.kill()
        first.communicate(timeout=10)
        sandbox.forget_requests()
        second = playbooks.build()
        assert second.code == 0, second.output
        (task,) = sandbox.tasks("qmclone")
        assert second.of("vm_clone")["upids"] == [task["upid"]]
        assert "GET /nodes/pve1/tasks" not in sandbox.requests()[:-1]
        operations = [note.rpartition(" ")[0] for note in notes.read_text().splitlines()]
        assert operations == ["clone", "resize scsi0", "power"]

    def test_who_lost_the_lease_changes_nothing(self, playbooks: Playbooks, sandbox: Sandbox) -> None:
        (playbooks.with_journal() / "lost").touch()
        assert playbooks.build().error["code"] == "lease_lost"
        assert {request.split()[0] for request in sandbox.requests()} == {"GET"}

    @pytest.mark.usefixtures("slow_clones")
    def test_an_answer_that_got_lost_does_not_make_a_second_clone(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        sandbox.fault(method="POST", path="/clone$", when="after", reset=True)
        first = playbooks.build()
        assert (first.error["code"], first.error["retryable"]) == ("node_unavailable", True)
        assert playbooks.build().code == 0
        assert len(sandbox.tasks("qmclone")) == 1

    def test_a_clone_lock_without_a_clone_is_said_not_waited_for(
        self, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        foreign_vm(sandbox, 1101)
        sandbox.change(1101, lock="clone")
        run = playbooks.build()
        assert run.error["code"] == "vm_locked"
        assert "qm unlock 1101" in run.error["hint"]


def test_the_example_inventory_builds_by_hand(by_hand: Playbooks, sandbox: Sandbox) -> None:
    ready = sandbox.ready
    by_hand.environment = {
        "PVE_TOKEN_SECRET": ready["token_secret"],
        "PVE_FINGERPRINT": ready["fingerprint"],
    }
    run = by_hand.run(
        "server_build.yml",
        Path(__file__).parents[2] / "inventory" / "example",
        *("-e", f"pve_api_host={sandbox.host}", "-e", f"pve_api_port={sandbox.port}"),
        *("-e", f"pve_api_token_id={ready['token_id']}"),
    )
    assert run.code == 0, run.output
    assert sandbox.vm(1101)["status"] == "running"
    assert "cipassword" not in sandbox.vm(1101)["config"]
