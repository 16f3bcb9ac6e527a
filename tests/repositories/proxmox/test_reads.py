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
        status = reads.node_status(pve, "pve1")
        assert status.cpus > 0
        assert 0 < status.memory_used_bytes < status.memory_total_bytes
        assert "VM.Clone" in reads.permissions(pve)["/"]
        assert 9000 in reads.used_vmids(pve)
