"""What running VMs take, what waits for a restart, snapshots and passwords: pure functions."""

from typing import Any

import pytest
from ansible_collections.jotunheim.pve.plugins.plugin_utils import options, passwords, snapshot, waiting
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import boot_order
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import Nic, network
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.snapshot import Found, Snapshot, State

from jotunheim.exceptions.model import DataValidationError
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.sandbox.crypt import sha256_crypt

CONFIG: dict[str, Any] = {
    "boot": "order=scsi0",
    "scsi0": "vmstore:1/vm-1-disk-0.qcow2,size=2G,cache=writeback",
    "net0": "virtio=BC:24:11:B9:0F:88,bridge=vmbr0,mtu=1400,queues=4",
    "ide2": "vmstore:1/vm-1-cloudinit.qcow2,media=cdrom",
    "memory": "1024",
}


class TestBootOrder:
    def test_it_is_compared_and_written_in_pve_s_form(self) -> None:
        assert not boot_order(CONFIG, ["scsi0"])
        plan = boot_order(CONFIG, ["net0", "scsi0"])
        assert plan.writes == {"boot": "order=net0;scsi0"}
        assert plan.diff() == {
            "before": {"boot_order": ["scsi0"]},
            "after": {"boot_order": ["net0", "scsi0"]},
        }
        assert boot_order(CONFIG | {"boot": " "}, ["scsi0"]).writes == {"boot": "order=scsi0"}

    @pytest.mark.parametrize("wanted", [[], ["scsi1"], ["scsi0", "scsi0"], ["memory"], ["scsi0;net0"]])
    def test_what_cannot_be_names_the_option(self, wanted: list[str]) -> None:
        with pytest.raises(DataValidationError) as caught:
            boot_order(CONFIG, wanted)
        assert {problem.field for problem in caught.value.problems} == {"boot_order"}


def test_an_mtu_that_is_there_is_kept_unless_another_is_wanted() -> None:
    assert network(CONFIG, Nic(vlan=7)).writes["net0"].endswith(",mtu=1400,queues=4,tag=7")
    assert network(CONFIG, Nic(mtu=9000)).writes["net0"].endswith(",mtu=9000,queues=4")


class TestWaiting:
    @pytest.mark.parametrize(
        ("key", "before", "after", "hotplug", "live"),
        [
            ("tags", "a", "b", "0", True),
            ("ciuser", None, "b", "0", True),
            ("ipconfig0", None, "ip=dhcp", "0", True),
            ("unused0", "a", None, "0", True),
            ("cores", "1", "2", "1", False),
            ("agent", "1", "0", None, False),
            ("smbios1", None, "uuid=x", None, False),
            ("memory", "1", "2", None, False),
            ("memory", "1", "2", "memory,network", True),
            ("net0", "a", "b", None, True),
            ("net0", "a", "b", "disk", False),
            ("scsi0", "a:1,size=1G", "a:1,size=2G", "0", True),
            ("ide2", None, "a:cloudinit", None, False),
            ("scsi1", None, "a:1", None, True),
            ("scsihw", "a", "b", None, False),
        ],
    )
    def test_which_changes_a_running_vm_takes(
        self, key: str, before: str | None, after: str | None, hotplug: str | None, live: bool
    ) -> None:
        rows = [{"key": key, "value": before}] if before else []
        rows += [{"key": "hotplug", "value": hotplug}] if hotplug else []
        predicted = {"hotplug": hotplug} if hotplug else {}
        predicted |= {key: after} if after else {}
        assert waiting.predicted_pending(rows, predicted) == ([] if live else [key])

    def test_a_change_that_is_taken_back_does_not_wait(self) -> None:
        rows = [{"key": "cores", "value": 1, "pending": 4}, {"key": "digest", "value": "abc"}]
        assert waiting.predicted_pending(rows, {"cores": 4}) == ["cores"]
        assert waiting.predicted_pending(rows, {"cores": "1"}) == []

    def test_the_guest_learns_from_its_drive_only_if_it_has_one(self) -> None:
        plan = Plan(writes={"name": "a", "net0": "x", "net1": "x", "cores": 2}, deletes=["nameserver"])
        assert waiting.for_guest(CONFIG, plan) == ["name", "net1", "nameserver"]
        assert waiting.for_guest({"net0": "x"}, plan) == []


class TestSnapshots:
    FULL = Found({"a": {"name": "a"}, "b": {"name": "b", "vmstate": 1}}, running=True, lock=None)

    @pytest.mark.parametrize("name", ["a1", "A-_", "a" * 40])
    def test_names_that_pve_takes(self, name: str) -> None:
        snapshot.check_name(name)

    @pytest.mark.parametrize(
        "name", ["", "a", "1a", "a" * 41, "a b", "ä1", "current", "PENDING", "a1\n", "../x"]
    )
    def test_names_that_it_does_not(self, name: str) -> None:
        with pytest.raises(DataValidationError) as caught:
            snapshot.check_name(name)
        assert [problem.field for problem in caught.value.problems] == ["name"]

    def test_the_limit_counts_only_for_a_new_one(self) -> None:
        assert not snapshot.plan(self.FULL, State.PRESENT, Snapshot("a", limit=1))
        assert snapshot.plan(self.FULL, State.PRESENT, Snapshot("c", limit=3))
        with pytest.raises(ResourceLimitExceededError):
            snapshot.plan(self.FULL, State.PRESENT, Snapshot("c", limit=2))

    def test_what_runs_after_a_rollback(self) -> None:
        plans = [
            snapshot.plan(self.FULL, State.ROLLED_BACK, Snapshot(name, start=start)).diff()["after"]
            for name, start in (("a", False), ("a", True), ("b", False))
        ]
        assert plans == [
            {"rolled_back_to": "a", "status": "stopped"},
            {"rolled_back_to": "a"},
            {"rolled_back_to": "b"},
        ]


class TestPasswords:
    @pytest.mark.parametrize("password", ["geheim-1", "gëheim", "a"])
    def test_a_hash_is_found_in_user_data_and_compared(self, password: str) -> None:
        data = (
            f"#cloud-config\nuser: debian\npassword: {sha256_crypt(password)}\nchpasswd:\n  expire: False\n"
        )
        assert passwords.matches(password, passwords.stored_hash(data))
        assert not passwords.matches(password + "x", passwords.stored_hash(data))

    @pytest.mark.parametrize(
        "stored", [None, "", "geheim", "$5$cut", "$y$j9T$abcdefgh$xyz", "$9$a$b", "$2b$05$" + "a" * 53]
    )
    def test_what_is_not_known_is_not_equal(self, stored: str | None) -> None:
        assert not passwords.matches("geheim", stored)
        assert passwords.stored_hash("password: **********\n") is None

    @pytest.mark.parametrize("password", ["gëheim", "abc", "$5$salt$hash", "日本語"])
    def test_what_pve_would_change_is_sent_as_its_hash(self, password: str) -> None:
        sent = passwords.sent(password)
        assert sent.hashed
        assert sent.text.startswith("$6$")
        assert sent.text.isascii()
        assert passwords.matches(password, sent.text)
        wanted = options.cloudinit_of({"ip_configs": None}, password).password
        assert passwords.matches(password, wanted)

    def test_any_other_as_it_is_and_it_is_not_shown(self) -> None:
        sent = passwords.sent("canary-1")
        assert (sent.text, sent.hashed) == ("canary-1", False)
        assert "canary" not in repr(sent)
