"""Small typed reads of a node: version, nodes, storages, the token's rights, VMIDs in use."""

from collections.abc import Mapping
from dataclasses import dataclass

from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path


@dataclass(frozen=True)
class Storage:
    """A storage as a node sees it."""

    content: frozenset[str]
    """What may be put there, e.g. `images`."""
    active: bool


def version(client: ProxmoxClient) -> str:
    """PVE's version, e.g. ``8.4.21``. The cheapest call that proves address, certificate and token."""
    return str(client.get("version")["version"])


def nodes(client: ProxmoxClient) -> frozenset[str]:
    """Names of the cluster's nodes. Needs no privilege."""
    return frozenset(str(node["node"]) for node in client.get("nodes"))


def storages(client: ProxmoxClient, node: str) -> Mapping[str, Storage]:
    """A node's storages by id, as far as the token has Datastore.Audit."""
    return {
        str(storage["storage"]): Storage(
            content=frozenset(str(storage.get("content", "")).split(",")),
            active=bool(storage.get("active", 1)),
        )
        for storage in client.get(api_path("nodes", node, "storage"))
    }


def permissions(client: ProxmoxClient) -> Mapping[str, frozenset[str]]:
    """The token's effective privileges by path, e.g. ``{"/vms": {"VM.Clone", …}}``."""
    data = client.get("access/permissions")
    return {path: frozenset(name for name, held in rights.items() if held) for path, rights in data.items()}


def used_vmids(client: ProxmoxClient) -> frozenset[int]:
    """VMIDs of all VMs and containers of the cluster that the token may see."""
    return frozenset(int(guest["vmid"]) for guest in client.get("cluster/resources", type="vm"))
