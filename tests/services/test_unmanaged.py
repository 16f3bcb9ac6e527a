"""What of a node can become a server: containers cannot, and are shown beside the VMs."""

import base64

import pytest

from jotunheim.data.paging import Page
from jotunheim.data.server.importing import GuestKind
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.services.nodes import unmanaged
from jotunheim.services.nodes.unmanaged import Wanted
from jotunheim.settings import Settings
from tests.repositories.proxmox.conftest import certificate as certificate  # a fixture
from tests.repositories.proxmox.conftest import server as server  # a fixture
from tests.repositories.proxmox.scripted_pve import Say, ScriptedServer
from tests.services.records import add_node

VM = {"vmid": 101, "name": "vm", "status": "running", "cpus": 2, "maxmem": 2**31, "maxdisk": 2**33}
CONTAINER = {"vmid": "100", "name": "ct", "status": "stopped", "cpus": 1, "maxmem": 2**29, "type": "lxc"}
CONFIG = {"name": "vm", "scsi0": "local-lvm:vm-101-disk-0,size=8G", "boot": "order=scsi0"}


def test_containers_are_shown_and_cannot_be_imported(
    store: Settings, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, keyring = add_node(), Keyring([base64.b64encode(bytes(32)).decode()])
    monkeypatch.setattr(unmanaged, "endpoint", lambda *_: server.endpoint())

    def listed(wanted: Wanted, *script: Say) -> list[tuple[int, str, list[str]]]:
        server.script, server.seen = [Say([VM]), Say([CONTAINER]), *script], []
        found = unmanaged.list_unmanaged(node, wanted, Page(), keyring, store)
        return [(view.vmid, str(view.kind), [str(each) for each in view.reasons]) for view in found.items]

    both = [(100, "container", ["container"]), (101, "vm", [])]
    assert listed(Wanted(), Say(CONFIG)) == both
    assert [seen.path.rpartition("/nodes/")[2] for seen in server.seen] == [
        "pve1/qemu",
        "pve1/lxc",
        "pve1/qemu/101/config",
    ]
    assert listed(Wanted(importable=True), Say(CONFIG)) == both[1:]
    assert listed(Wanted(importable=False), Say(CONFIG)) == both[:1]
    assert listed(Wanted(kind=GuestKind.CONTAINER)) == both[:1]
    assert listed(Wanted(name="CT")) == both[:1]
