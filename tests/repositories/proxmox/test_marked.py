"""What a scan for orphans reads of a node: one VM that cannot be read keeps it from none of the others."""

import uuid

import pytest

from jotunheim.exceptions.repository import ProxmoxUnauthorizedError
from jotunheim.repositories.proxmox import ProxmoxClient, marked
from tests.repositories.proxmox.scripted_pve import Say, ScriptedServer

ID = uuid.uuid4()
NODES, NO_STORAGES, NO_CONTAINERS = Say([{"node": "pve1"}]), Say([]), Say([])
VMS = Say([{"vmid": 100, "status": "stopped"}, {"vmid": 101, "name": "a", "status": "stopped"}])
OURS = Say({"description": f"jotunheim:server={ID}", "smbios1": f"uuid={ID}"})
ALL = Say([{"vmid": 100}, {"vmid": 101}])


def told(server: ScriptedServer, *script: Say) -> marked.Marked:
    server.script = [NODES, NO_STORAGES, VMS, NO_CONTAINERS, *script]
    with ProxmoxClient(server.endpoint()) as client:
        return marked.read(client, "pve1", ())


@pytest.mark.parametrize("status", [403, 500])
def test_a_vm_that_cannot_be_read_is_said(server: ScriptedServer, status: int) -> None:
    found = told(server, Say(status=status, reason="not to be read"), OURS, ALL)
    assert [(vm.vmid, vm.mark, vm.copied) for vm in found.vms] == [(101, ID, False)]
    assert found.lacking.vmids == {100}
    assert "not to be read" in found.lacking.told[0]


def test_a_refused_token_is_an_error(server: ScriptedServer) -> None:
    with pytest.raises(ProxmoxUnauthorizedError):
        told(server, Say(status=401), OURS, ALL)
