"""Small typed reads of a node: version, nodes, storages, the token's rights, VMIDs in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from jotunheim.exceptions.repository import ProxmoxPermissionError
from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path


@dataclass(frozen=True)
class Storage:
    """A storage as a node sees it."""

    content: frozenset[str]
    """What may be put there, e.g. `images`."""
    active: bool


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of a VM."""

    name: str
    description: str
    with_memory: bool
    parent: str | None
    created_at: datetime


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


def permissions(client: ProxmoxClient) -> Mapping[str, Mapping[str, bool]]:
    """The token's effective privileges by path, each with whether it holds below that path too.

    For example ``{"/vms": {"VM.Clone": True, …}}``.
    """
    data = client.get("access/permissions")
    return {
        path: {name: bool(propagated) for name, propagated in rights.items()} for path, rights in data.items()
    }


def datacenter_firewall(client: ProxmoxClient) -> bool | None:
    """Whether the firewall filters anything at all in the node's cluster; None: the token may not see it."""
    try:
        return bool(int(client.get("cluster/firewall/options").get("enable", 0)))
    except ProxmoxPermissionError:
        return None


def used_vmids(client: ProxmoxClient) -> frozenset[int]:
    """VMIDs of all VMs and containers of the cluster that the token may see."""
    return frozenset(int(guest["vmid"]) for guest in client.get("cluster/resources", type="vm"))


def vm_status(client: ProxmoxClient, node: str, vmid: int) -> str:
    """Whether a VM is `running` or `stopped`."""
    return str(client.get(api_path("nodes", node, "qemu", vmid, "status", "current"))["status"])


def vm_statuses(client: ProxmoxClient, node: str) -> dict[int, str]:
    """`running` or `stopped` by VMID, for the VMs of a node that the token may see."""
    return {int(vm["vmid"]): str(vm["status"]) for vm in client.get(api_path("nodes", node, "qemu"))}


def snapshots(client: ProxmoxClient, node: str, vmid: int) -> list[Snapshot]:
    """A VM's snapshots, the oldest first, without PVE's entry for the present state."""
    listed = client.get(api_path("nodes", node, "qemu", vmid, "snapshot"))
    found = [
        Snapshot(
            name=str(entry["name"]),
            description=str(entry.get("description", "")).strip(),
            with_memory=bool(entry.get("vmstate", 0)),
            parent=entry.get("parent"),
            created_at=datetime.fromtimestamp(int(entry.get("snaptime", 0)), UTC),
        )
        for entry in listed
        if entry["name"] != "current"
    ]
    return sorted(found, key=lambda snapshot: snapshot.created_at)
