"""The typed reads, against the sandbox."""

from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, TlsPolicy, reads
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
        assert "VM.Clone" in reads.permissions(pve)["/"]
        assert 9000 in reads.used_vmids(pve)
