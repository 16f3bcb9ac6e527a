"""What a VM's configuration says, in our units."""

import uuid

import pytest

from jotunheim.repositories.proxmox.configuration import parse

OWN = "9e60e40f-a6f6-4eca-b680-8f3b1f089265"


def test_what_is_not_said_has_proxmox_ves_defaults() -> None:
    found = parse({"digest": "x"})
    assert (found.cores, found.memory_bytes, found.disk_bytes) == (1, 512 * 2**20, None)
    assert (found.name, found.uuid, found.mark, found.image, found.agent) == (None, None, None, None, False)
    assert (found.network, found.addresses, found.ssh_keys, found.description) == ({}, [], [], "")


def test_settings_are_read_in_our_units() -> None:
    found = parse(
        {
            "smbios1": f"uuid={OWN.upper()},serial=U04=,base64=1",
            "description": "jotunheim:server=abc\nfirst\n  second\n",
            "cores": 3,
            "sockets": 2,
            "memory": "current=2048",
            "boot": "order=net0;virtio1",
            "virtio0": "a:1/x.raw,size=10G",
            "virtio1": "a:1/y.raw,iothread=1,size=1536M",
            "ide2": "local:iso/a b.iso,media=cdrom,size=1K",
            "net0": "model=e1000,macaddr=BC:24:11:00:00:41,bridge=vmbr1,tag=7,rate=2.5,mtu=1400,firewall=0",
            "tags": "b;a",
            "agent": "enabled=1,type=virtio",
            "sshkeys": "ssh-ed25519%20AAAA%20a%2Bb%0Assh-rsa%20BBBB%0A",
            "nameserver": "10.0.0.1 10.0.0.2",
            "ipconfig10": "ip=10.0.0.9/24",
            "ipconfig2": "ip=dhcp,ip6=2001:db8::2/64",
            "lock": "backup",
            "template": 1,
        }
    )
    assert (found.uuid, found.mark, found.description) == (uuid.UUID(OWN), "abc", "first\n  second")
    assert (found.cores, found.memory_bytes, found.disk_bytes) == (6, 2**31, 1536 * 2**20)
    assert found.network == {
        "model": "e1000",
        "bridge": "vmbr1",
        "vlan": 7,
        "mtu": 1400,
        "rate_bytes_per_second": 2.5 * 2**20,
        "firewall": False,
    }
    assert (found.tags, found.agent, found.lock, found.template) == (["b", "a"], True, "backup", True)
    assert found.ssh_keys == ["ssh-ed25519 AAAA a+b", "ssh-rsa BBBB"]
    assert (found.nameservers, found.addresses) == (["10.0.0.1", "10.0.0.2"], ["2001:db8::2", "10.0.0.9"])
    assert found.image == "local:iso/a b.iso"


@pytest.mark.parametrize("text", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, "f" * 32, "none", ""])
def test_a_uuid_that_tells_nothing_is_none(text: str) -> None:
    assert parse({"smbios1": f"uuid={text},serial=x"}).uuid is None
