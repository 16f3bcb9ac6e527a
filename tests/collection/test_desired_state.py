"""What is changed to get from a configuration to what is wanted: pure functions."""

from typing import Any

import pytest
from ansible_collections.jotunheim.pve.plugins.plugin_utils.adoption import adopted, released
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import CloudInit, IpConfig, cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import Disk, disk, disk_sizes, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import General, general
from ansible_collections.jotunheim.pve.plugins.plugin_utils.iso import iso
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import Nic, network, nic, nic_text
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import (
    described,
    description_text,
    identity,
    is_ours,
    mark,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.power import Power, step
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties

from jotunheim.exceptions.model import DataValidationError
from jotunheim.exceptions.repository import ProxmoxNotFoundError

MIB = 1024**2
GIB = 1024**3
UUID = "5f0c2a54-6d0c-4b5e-9d55-0f4f1f1f7a01"

# The recorded template of a PVE 8.4.
CONFIG: dict[str, Any] = {
    "scsi0": "vmstore:9000/base-9000-disk-0.qcow2,size=2G",
    "boot": "order=scsi0",
    "cores": 1,
    "net0": "virtio=BC:24:11:B9:0F:88,bridge=vmbr0",
    "memory": "1024",
    "agent": "1",
    "ide2": "vmstore:9000/vm-9000-cloudinit.qcow2,media=cdrom",
    "tags": "debian;template",
    "description": "Debian 12",
    "smbios1": "uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089265",
    "ciuser": "debian",
    "name": "debian12-cloud",
}


@pytest.mark.parametrize(
    "text",
    [
        "virtio=BC:24:11:00:00:41,bridge=vmbr0,tag=100",
        "1,fstrim_cloned_disks=1",
        "vmstore:1/a.qcow2,size=2G",
        "",
    ],
)
def test_property_strings_come_back_as_they_were(text: str) -> None:
    assert str(Properties(text, "default")) == text


class TestImages:
    DRIVE = "local:iso/a.iso,media=cdrom,size=36K"

    @pytest.mark.parametrize(
        ("config", "wanted", "writes"),
        [
            ({}, "", {}),
            ({}, "local:iso/a.iso", {"ide0": "local:iso/a.iso,media=cdrom", "boot": "order=scsi0;ide0"}),
            ({"ide0": DRIVE}, "local:iso/a.iso", {}),
            (
                {"ide0": DRIVE, "boot": "order=scsi0;ide0"},
                "local:iso/b.iso",
                {"ide0": "local:iso/b.iso,media=cdrom"},
            ),
            ({"ide0": DRIVE}, "", {"ide0": "none,media=cdrom"}),
            ({"ide0": "none,media=cdrom", "sata0": DRIVE}, "", {"sata0": "none,media=cdrom"}),
            (
                {"ide0": "none,media=cdrom", "boot": "order=ide0"},
                "local:iso/a.iso",
                {"ide0": "local:iso/a.iso,media=cdrom"},
            ),
            ({"ide0": "cdrom,media=cdrom"}, "", {}),
            (
                {"ide0": "cdrom,media=cdrom", "boot": "cdn"},
                "local:iso/a.iso",
                {"sata5": "local:iso/a.iso,media=cdrom"},
            ),
        ],
    )
    def test_the_drive_is_found_made_and_emptied(
        self, config: dict[str, Any], wanted: str, writes: dict[str, str]
    ) -> None:
        plan = iso(CONFIG | config, wanted)
        assert plan.writes == writes
        after = plan.applied_to(CONFIG | config)
        assert not iso(after, wanted)
        assert after["ide2"] == CONFIG["ide2"]

    @pytest.mark.parametrize(
        "wanted", ["/etc/passwd", "local:1/x.qcow2", "local:iso/a,b.iso", "cdrom", "local:iso/a/b"]
    )
    def test_nothing_else_is_an_image(self, wanted: str) -> None:
        with pytest.raises(DataValidationError):
            iso(CONFIG, wanted)

    def test_a_vm_without_a_place_is_refused(self) -> None:
        full = {
            f"{bus}{n}": "vmstore:1/x.qcow2,size=1G"
            for bus, count in (("ide", 4), ("sata", 6))
            for n in range(count)
        }
        with pytest.raises(DataValidationError):
            iso(full, "local:iso/a.iso")


@pytest.mark.parametrize(
    ("sockets", "wanted", "writes"),
    [(1, 2, {"cores": 2}), (2, 4, {"cores": 2}), (2, 2, {}), (2, 3, {"sockets": 1, "cores": 3})],
)
def test_cores_are_counted_over_all_sockets(sockets: int, wanted: int, writes: dict[str, int]) -> None:
    assert general({"sockets": sockets, "cores": 1}, General(cores=wanted)).writes == writes


class TestAdoption:
    OTHER = "9e60e40f-a6f6-4eca-b680-8f3b1f089265"

    def test_a_vm_with_the_servers_uuid_is_only_described(self) -> None:
        config = {"smbios1": f"uuid={UUID.upper()},serial=abc", "description": "notes"}
        assert adopted(config, UUID).writes == {"description": f"{mark(UUID)}\nnotes"}

    def test_another_servers_mark_and_what_it_noted_is_replaced_and_comes_back(self) -> None:
        notes = f"{mark(self.OTHER)}\njotunheim:rebuild=old\nnotes"
        plan = adopted({"smbios1": f"uuid={UUID}", "description": notes}, UUID)
        assert plan.writes == {"description": f"{mark(UUID)}\nnotes"}
        assert plan.diff()["before"] == {"description": notes}
        assert released(plan.writes, UUID, self.OTHER).writes == {"description": f"{mark(self.OTHER)}\nnotes"}

    def test_a_mark_comes_off_where_it_is_ours(self) -> None:
        assert released({"description": f"{mark(UUID)}\nnotes"}, UUID, "").writes == {"description": "notes"}
        assert released({"description": mark(UUID)}, UUID, "").deletes == ["description"]
        assert not released({"description": f"{mark(self.OTHER)}\nnotes"}, UUID, "")
        assert not released({}, UUID, "")


class TestOwnership:
    @pytest.mark.parametrize(
        "config",
        [
            {"smbios1": f"uuid={UUID},manufacturer=QQ==,base64=1"},
            {"smbios1": f"uuid={UUID.upper()}"},
            {"description": f"jotunheim:server={UUID}"},
            {
                "description": f"jotunheim:server={UUID}\nnotes",
                "smbios1": "uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089265",
            },
        ],
    )
    def test_either_mark_makes_a_vm_ours(self, config: dict[str, Any]) -> None:
        assert is_ours(config, UUID)

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"lock": "clone", "description": " qmclone temporary file"},
            {"description": f"notes\njotunheim:server={UUID}"},
            {"description": f"see jotunheim:server={UUID}"},
            {"description": f"jotunheim:server={UUID}0"},
            {"name": UUID, "smbios1": "uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089265"},
        ],
    )
    def test_nothing_else_does(self, config: dict[str, Any]) -> None:
        assert not is_ours(config, UUID)

    def test_the_mark_keeps_other_smbios_fields_and_the_notes(self) -> None:
        config = {"smbios1": "uuid=9e60e40f-a6f6-4eca-b680-8f3b1f089265,serial=abc", "description": "notes"}
        plan = identity(config, UUID, None)
        assert plan.writes == {"smbios1": f"uuid={UUID},serial=abc", "description": f"{mark(UUID)}\nnotes"}

    @pytest.mark.parametrize("text", ["", "one", "one\ntwo", "  indented", "ünï & more", "{{ x }}"])
    def test_notes_come_back_and_are_set_once(self, text: str) -> None:
        config = {"smbios1": f"uuid={UUID}", "description": described(UUID, text)}
        assert description_text(config) == text
        assert not identity(config, UUID, text)
        assert not identity(config, UUID, None)
        assert identity(config, UUID, text + "x").writes == {"description": described(UUID, text + "x")}

    def test_white_space_that_pve_drops_is_no_difference(self) -> None:
        config = {"smbios1": f"uuid={UUID}", "description": f"{mark(UUID)}\na\nb"}
        assert not identity(config, UUID, "a\r\nb \n")


class TestGeneral:
    def test_what_is_so_is_not_written(self) -> None:
        wanted = General(
            name="debian12-cloud",
            cores=1,
            memory_bytes=GIB,
            cpu_type="kvm64",
            tags=["Template", "debian", "debian"],
            onboot=False,
            agent=True,
        )
        assert not general(CONFIG, wanted)
        assert not general(CONFIG, General())

    def test_units_and_spellings_of_pve(self) -> None:
        wanted = General("n", 2, 1536 * MIB, "host", ["b", "A"], onboot=True, agent=False)
        plan = general(CONFIG | {"cpu": "kvm64,flags=+aes", "agent": "1,type=virtio"}, wanted)
        assert plan.writes == {
            "name": "n",
            "cores": 2,
            "memory": 1536,
            "cpu": "host,flags=+aes",
            "tags": "a;b",
            "onboot": 1,
            "agent": "0,type=virtio",
        }

    def test_no_tags_removes_the_key_if_it_is_there(self) -> None:
        assert general(CONFIG, General(tags=[])).deletes == ["tags"]
        assert not general({}, General(tags=[]))

    def test_memory_is_whole_mebibytes(self) -> None:
        with pytest.raises(DataValidationError):
            general(CONFIG, General(memory_bytes=GIB + 1))


class TestDisk:
    def test_the_system_disk_is_the_first_disk_of_the_boot_order(self) -> None:
        assert disk_sizes(CONFIG) == {"scsi0": 2 * GIB}
        assert system_disk(CONFIG) == "scsi0"
        both = CONFIG | {"virtio1": "a:b,size=512M", "boot": "order=ide2;net0;virtio1;scsi0"}
        assert system_disk(both) == "virtio1"
        assert system_disk(both | {"boot": "c", "bootdisk": "scsi0"}) == "scsi0"
        with pytest.raises(ProxmoxNotFoundError):
            system_disk(both | {"boot": " "})

    def test_growing_is_absolute(self) -> None:
        plan = disk(CONFIG, Disk(3 * GIB))
        assert [(resize.disk, resize.size_bytes) for resize in plan.resizes] == [("scsi0", 3 * GIB)]
        assert not plan.writes

    @pytest.mark.parametrize("size", [2 * GIB, 2 * GIB - 4 * MIB])
    def test_a_size_that_the_storage_rounded_up_is_the_same(self, size: int) -> None:
        assert not disk(CONFIG, Disk(size))

    @pytest.mark.parametrize("size", [GIB, 3 * GIB + 1])
    def test_shrinking_and_odd_sizes_are_refused(self, size: int) -> None:
        with pytest.raises(DataValidationError):
            disk(CONFIG, Disk(size))

    def test_an_odd_size_that_the_disk_has_is_no_change(self) -> None:
        """As a server has it that was made from the backup of an imported one."""
        assert not disk(CONFIG | {"scsi0": "vmstore:x,size=2097153K"}, Disk(2 * GIB + 1024))

    def test_a_missing_disk(self) -> None:
        with pytest.raises(ProxmoxNotFoundError, match="scsi5"):
            disk(CONFIG, Disk(3 * GIB, "scsi5"))


class TestNetwork:
    @pytest.mark.parametrize(
        "text",
        [
            "virtio=BC:24:11:00:00:41,bridge=vmbr0,tag=100,rate=12.5,firewall=1",
            "e1000=BC:24:11:00:00:41",
            "virtio,bridge=vmbr0",
        ],
    )
    def test_devices_come_back_as_they_were(self, text: str) -> None:
        assert nic_text(nic(text)) == text

    def test_the_long_spelling_is_understood(self) -> None:
        device = nic("model=virtio,macaddr=BC:24:11:00:00:41,bridge=vmbr0")
        assert nic_text(device) == "virtio=BC:24:11:00:00:41,bridge=vmbr0"

    def test_what_is_so_is_not_written(self) -> None:
        config = {"net0": "virtio=BC:24:11:00:00:41,bridge=vmbr0,tag=7,rate=12.5,firewall=1,mtu=1400"}
        wanted = Nic(0, "vmbr0", "virtio", 7, 1400, int(12.5 * MIB), firewall=True)
        assert not network(config, wanted)
        assert not network(CONFIG, Nic(vlan=0, mtu=0, rate_bytes_per_second=0, firewall=False))

    def test_the_mac_and_unknown_options_survive_every_change(self) -> None:
        config = {"net0": "virtio=BC:24:11:00:00:41,bridge=vmbr0,queues=4,link_down=1,trunks=1;2"}
        plan = network(config, Nic(0, "vmbr1", "e1000", 7, 1400, 10 * MIB, firewall=True))
        assert plan.writes["net0"] == (
            "e1000=BC:24:11:00:00:41,bridge=vmbr1,queues=4,link_down=1,trunks=1;2,tag=7,mtu=1400,rate=10,firewall=1"
        )
        assert not any("BC:24" in str(change) for change in plan.changes)

    @pytest.mark.parametrize("mac", ["02:00:5E:00:00:01", "02:00:5e:00:00:01"])
    def test_a_mac_address_is_set_where_it_is_another(self, mac: str) -> None:
        plan = network({"net0": "virtio=BC:24:11:00:00:41,bridge=vmbr0,queues=4"}, Nic(mac=mac))
        assert plan.writes == {"net0": "virtio=02:00:5E:00:00:01,bridge=vmbr0,queues=4"}
        assert network({"net0": plan.writes["net0"]}, Nic(mac=mac)).writes == {}
        assert network({}, Nic(mac=mac, bridge="vmbr0")).writes == {
            "net0": "virtio=02:00:5E:00:00:01,bridge=vmbr0"
        }

    @pytest.mark.parametrize("rate", [1, 1000, 12_500_000, 125_000_000, 10_000_000_000])
    def test_a_rate_that_was_set_is_not_set_again(self, rate: int) -> None:
        first = network(CONFIG, Nic(rate_bytes_per_second=rate))
        assert not network(CONFIG | first.writes, Nic(rate_bytes_per_second=rate))

    @pytest.mark.parametrize("rate", [0, 5 * MIB])
    def test_no_device_is_added_only_to_be_held_to_a_rate(self, rate: int) -> None:
        assert not network({"net1": "virtio,bridge=vmbr0"}, Nic(rate_bytes_per_second=rate))

    def test_a_new_device_gets_its_mac_from_pve(self) -> None:
        assert network(CONFIG, Nic(1, "vmbr0")).writes == {"net1": "virtio,bridge=vmbr0"}


class TestCloudInit:
    def test_keys_are_url_encoded_and_compared_decoded(self) -> None:
        keys = ["ssh-ed25519 AAAA a+b@example.com", "ssh-rsa BBBB {{ x }}"]
        plan = cloudinit(CONFIG, CloudInit(ssh_keys=keys), UUID)
        assert plan.writes == {
            "sshkeys": "ssh-ed25519%20AAAA%20a%2Bb%40example.com%0Assh-rsa%20BBBB%20%7B%7B%20x%20%7D%7D%0A"
        }
        assert not cloudinit(CONFIG | plan.writes, CloudInit(ssh_keys=[" " + keys[0], keys[1] + "\n"]), UUID)
        assert cloudinit(CONFIG | plan.writes, CloudInit(ssh_keys=[]), UUID).deletes == ["sshkeys"]

    def test_addresses(self) -> None:
        entries = [
            IpConfig(0, "192.0.2.10/24", "192.0.2.1", "2001:db8::10/64", "2001:db8::1"),
            IpConfig(1, "dhcp", ipv6_address="auto"),
        ]
        plan = cloudinit(CONFIG | {"ipconfig2": "ip=dhcp"}, CloudInit(ip_configs=entries), UUID)
        assert plan.writes == {
            "ipconfig0": "ip=192.0.2.10/24,gw=192.0.2.1,ip6=2001:db8::10/64,gw6=2001:db8::1",
            "ipconfig1": "ip=dhcp,ip6=auto",
        }
        assert plan.deletes == []
        assert not cloudinit(CONFIG | plan.writes, CloudInit(ip_configs=entries), UUID)
        assert cloudinit(
            {**CONFIG, "ipconfig0": "ip=dhcp"}, CloudInit(ip_configs=[IpConfig()]), UUID
        ).deletes == ["ipconfig0"]

    def test_empty_removes_and_none_leaves(self) -> None:
        config = CONFIG | {"nameserver": "1.1.1.1", "searchdomain": "a.example"}
        assert not cloudinit(config, CloudInit(), UUID)
        plan = cloudinit(config, CloudInit(user="", nameservers=[], search_domain=""), UUID)
        assert plan.deletes == ["ciuser", "nameserver", "searchdomain"]

    def test_a_drive_is_made_on_a_free_slot_beside_the_system_disk(self) -> None:
        config = {key: value for key, value in CONFIG.items() if key != "ide2"}
        assert cloudinit(config, CloudInit(), UUID).writes == {"ide2": "vmstore:cloudinit"}
        taken = config | {"ide2": "local:iso/x.iso,media=cdrom"}
        assert cloudinit(taken, CloudInit(storage="fast"), UUID).writes == {"ide0": "fast:cloudinit"}

    def test_the_password_is_sent_when_it_cannot_be_ours_yet(self) -> None:
        adopted = CONFIG | {"smbios1": f"uuid={UUID}"}
        masked = {"cipassword": "**********"}
        wanted = CloudInit(password="canary")
        assert cloudinit(CONFIG | masked, wanted, UUID).writes == {"cipassword": "canary"}
        assert cloudinit(adopted, wanted, UUID).writes == {"cipassword": "canary"}
        assert not cloudinit(adopted | masked, wanted, UUID)
        assert cloudinit(adopted | masked, CloudInit(password="canary", renew_password=True), UUID)
        assert "canary" not in repr(wanted) + repr(cloudinit(adopted, wanted, UUID).diff())


@pytest.mark.parametrize(
    ("status", "wanted", "call"),
    [
        ("running", Power.STARTED, None),
        ("stopped", Power.STARTED, "start"),
        ("stopped", Power.STOPPED, None),
        ("running", Power.STOPPED, "stop"),
        ("stopped", Power.SHUTDOWN, None),
        ("running", Power.SHUTDOWN, "shutdown"),
        ("running", Power.REBOOTED, "reboot"),
        ("stopped", Power.REBOOTED, "start"),
        ("running", Power.RESET, "reset"),
        ("stopped", Power.RESET, "start"),
    ],
)
def test_the_way_to_a_power_state(status: str, wanted: Power, call: str | None) -> None:
    needed = step(status, wanted)
    assert (needed.call if needed else None) == call
