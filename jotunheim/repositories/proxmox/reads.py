"""Small typed reads of a node that services use: version, load, the token's rights, VMIDs in use."""

from collections.abc import Mapping
from dataclasses import dataclass

from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path


@dataclass(frozen=True)
class NodeStatus:
    """A node's capacity and use, as the node itself counts them."""

    cpus: int
    memory_total_bytes: int
    memory_used_bytes: int
    uptime_seconds: int
    pve_version: str


def version(client: ProxmoxClient) -> str:
    """PVE's version, e.g. ``8.4.21``. The cheapest call that proves address, certificate and token."""
    return str(client.get("version")["version"])


def node_status(client: ProxmoxClient, node: str) -> NodeStatus:
    """Capacity and use of a node. Needs Sys.Audit on it."""
    data = client.get(api_path("nodes", node, "status"))
    return NodeStatus(
        cpus=int(data["cpuinfo"]["cpus"]),
        memory_total_bytes=int(data["memory"]["total"]),
        memory_used_bytes=int(data["memory"]["used"]),
        uptime_seconds=int(data["uptime"]),
        pve_version=str(data["pveversion"]),
    )


def permissions(client: ProxmoxClient) -> Mapping[str, frozenset[str]]:
    """The token's effective privileges by path, e.g. ``{"/vms": {"VM.Clone", …}}``."""
    data = client.get("access/permissions")
    return {path: frozenset(name for name, held in rights.items() if held) for path, rights in data.items()}


def used_vmids(client: ProxmoxClient) -> frozenset[int]:
    """VMIDs of all VMs and containers of the cluster that the token may see."""
    return frozenset(int(guest["vmid"]) for guest in client.get("cluster/resources", type="vm"))
