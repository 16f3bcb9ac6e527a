"""What a sync asks of a node: what is not told, what is told wrongly, and whose a VM is."""

import pytest

from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxUnauthorizedError
from jotunheim.repositories.proxmox import ProxmoxClient, facts
from tests.repositories.proxmox.scripted_pve import Say, ScriptedServer

NODES = Say([{"node": "pve1"}, {"node": "pve2"}])
VMS = Say([{"vmid": 100, "name": "a", "status": "running", "maxmem": 2**30}, {"vmid": 101, "template": 1}])
STATUS = Say(
    {
        "pveversion": "pve-manager/8.4.1/2a5fa54a8503f96d",
        "cpuinfo": {"cpus": 8},
        "cpu": 0.25,
        "memory": {"total": 64 * 2**30, "used": 2**30},
    }
)
STORAGE = Say(
    [{"storage": "s", "type": "dir", "content": "images,iso", "total": 100, "used": 40, "enabled": 0}]
)
BRIDGES = Say([{"iface": "vmbr1"}, {"iface": "vmbr0"}])
DISKS = Say([{"volid": "s:100/d", "vmid": 100, "size": 10}, {"volid": "s:x", "size": 5}])
DENIED = Say(status=403, reason="Permission check failed (/nodes/pve1, Sys.Audit)")


def told(server: ScriptedServer, *script: Say) -> facts.Facts:
    server.script = list(script)
    with ProxmoxClient(server.endpoint()) as client:
        return facts.read(client, "pve1", "s")


def test_everything_that_is_told(server: ScriptedServer) -> None:
    found = told(server, NODES, VMS, STATUS, STORAGE, BRIDGES, DISKS)
    assert found.peers == {"pve1", "pve2"}
    assert found.load == facts.Load("8.4.1", 8, 0.25, 64 * 2**30, 2**30)
    seen = facts.Counters(None, 0, 0, 0)
    assert found.vms[100] == facts.Vm(100, "a", True, 2**30, False, seen)
    assert found.vms[101].counters is None
    assert found.vms[101].template
    assert found.storages == [facts.StorageFacts("s", "dir", ["images", "iso"], False, False, 100, 40)]
    assert found.bridges == ["vmbr0", "vmbr1"]
    assert found.disks == [facts.Disk(100, 10), facts.Disk(None, 5)]
    assert found.lacking == []
    assert len(server.seen) == 6


def test_what_the_token_may_not_see_is_said_and_is_not_nothing(server: ScriptedServer) -> None:
    found = told(server, NODES, VMS, DENIED, STORAGE, DENIED, DENIED)
    assert (found.load, found.bridges, found.disks) == (None, None, None)
    assert found.storages is not None
    assert len(found.lacking) == 3
    assert all("Sys.Audit" in said for said in found.lacking)


def test_a_storage_that_is_not_there_has_no_disks_and_a_refused_token_is_an_error(
    server: ScriptedServer,
) -> None:
    gone = Say(status=500, reason="storage 's' does not exist")
    assert told(server, NODES, VMS, STATUS, STORAGE, BRIDGES, gone).disks is None
    with pytest.raises(ProxmoxUnauthorizedError):
        told(server, NODES, VMS, STATUS, STORAGE, BRIDGES, Say(status=401, body=b""))


@pytest.mark.parametrize(
    "script",
    [
        (Say(None),),
        (Say("text"),),
        (Say([{"name": "pve1"}]),),
        (NODES, Say({"vmid": 1})),
        (NODES, Say([{"vmid": "x"}])),
        (NODES, VMS, Say({"cpuinfo": None, "memory": {}})),
        (NODES, VMS, STATUS, Say([{"storage": "s", "total": "much"}])),
    ],
)
def test_an_answer_that_is_not_pves_is_the_nodes_error_and_no_crash(
    server: ScriptedServer, script: tuple[Say, ...]
) -> None:
    with pytest.raises(ProxmoxRequestError, match="pve1"):
        told(server, *script)


def test_so_it_is_where_vms_are_looked_for(server: ScriptedServer) -> None:
    with ProxmoxClient(server.endpoint()) as client:
        for answer in (Say([{"type": "qemu"}]), Say(7)):
            server.script = [answer]
            with pytest.raises(ProxmoxRequestError, match="cluster"):
                facts.whereabouts(client)
            with pytest.raises(ProxmoxRequestError, match="pve1"):
                facts.template_vmids(client, "pve1")


def test_only_a_vm_that_the_node_denies_to_have_is_absent(server: ScriptedServer) -> None:
    missing = Say(status=500, reason="Configuration file 'nodes/pve1/qemu-server/7.conf' does not exist")
    with ProxmoxClient(server.endpoint()) as client:
        for answer, absent in ((missing, True), (DENIED, False), (Say({"name": "there"}), False)):
            server.script = [answer]
            assert facts.is_absent(client, "pve1", 7) is absent
        server.script = [Say(status=500, reason="got timeout")]
        with pytest.raises(ProxmoxRequestError):
            facts.is_absent(client, "pve1", 7)


@pytest.mark.parametrize(
    ("smbios", "uuid"),
    [
        ("uuid=9E60E40F-A6F6-4ECA-B680-8F3B1F089265,family=x", "9e60e40f-a6f6-4eca-b680-8f3b1f089265"),
        ("family=uuid=9E60E40F-A6F6-4ECA-B680-8F3B1F089265", ""),
        ("", ""),
    ],
)
def test_the_uuid_of_a_vm(server: ScriptedServer, smbios: str, uuid: str) -> None:
    server.script = [Say({"smbios1": smbios})]
    with ProxmoxClient(server.endpoint()) as client:
        assert facts.smbios_uuid(client, "pve1", 7) == uuid
        server.script = [DENIED]
        assert facts.smbios_uuid(client, "pve1", 7) == ""
        server.script = [Say(status=401, body=b"")]
        with pytest.raises(ProxmoxUnauthorizedError):
            facts.smbios_uuid(client, "pve1", 7)
