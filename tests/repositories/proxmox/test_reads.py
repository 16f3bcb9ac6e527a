"""The typed reads, against the sandbox."""

import pytest

from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, TlsPolicy, reads
from tests.repositories.proxmox.scripted_pve import Say, ScriptedServer
from tests.support.sandbox import Sandbox


def test_what_services_read_of_a_node(sandbox: Sandbox) -> None:
    endpoint = Endpoint(
        "127.0.0.1",
        sandbox.token_id,
        sandbox.token_secret,
        port=sandbox.port,
        tls=TlsPolicy(ca_pem=sandbox.ca_pem),
    )
    with ProxmoxClient(endpoint) as pve:
        assert reads.version(pve).startswith("8.4")
        assert reads.nodes(pve) == set(sandbox.nodes)
        assert reads.storages(pve, "pve1")["vmstore"] == reads.Storage(
            frozenset({"images", "rootdir"}), active=True
        )
        assert "VM.Clone" in reads.permissions(pve)["/vms"]
        assert 9000 in reads.used_vmids(pve)
        assert reads.datacenter_firewall(pve) is None  # it takes a right on / that the service does not need


@pytest.mark.parametrize(
    ("answer", "enabled"),
    [(Say({"enable": 1}), True), (Say({"enable": 0}), False), (Say(status=403, reason="no"), None)],
)
def test_whether_the_datacenters_firewall_is_on(
    server: ScriptedServer, answer: Say, enabled: bool | None
) -> None:
    server.script = [answer]
    with ProxmoxClient(server.endpoint()) as pve:
        assert reads.datacenter_firewall(pve) is enabled
