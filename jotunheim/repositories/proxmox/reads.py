"""Small typed reads of a node: version, nodes, storages, the token's rights, VMIDs in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from jotunheim.exceptions.repository import ProxmoxPermissionError
from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path
from jotunheim.repositories.proxmox.configuration import Configuration, archived_config, parse


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


@dataclass(frozen=True)
class Image:
    """An ISO image on a storage."""

    volume: str
    size_bytes: int
    created_at: datetime | None


@dataclass(frozen=True)
class Guest:
    """A VM or container, as a node lists it."""

    vmid: int
    container: bool
    name: str
    status: str
    template: bool
    lock: str | None
    cores: int
    memory_bytes: int
    disk_bytes: int
    """Of the disk that it boots from."""


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


def images(client: ProxmoxClient, node: str, storage: str) -> list[Image]:
    """The ISO images on a node's storage, as far as the token has Datastore.Audit."""
    listed = client.get(api_path("nodes", node, "storage", storage, "content"), content="iso")
    return [
        Image(
            volume=str(entry["volid"]),
            size_bytes=int(entry.get("size", 0)),
            created_at=datetime.fromtimestamp(int(entry["ctime"]), UTC) if "ctime" in entry else None,
        )
        for entry in listed
    ]


def guests(client: ProxmoxClient, node: str) -> list[Guest]:
    """The VMs and containers of a node that the token may see, by VMID."""
    found = [
        Guest(
            vmid=int(entry["vmid"]),
            container=kind == "lxc",
            name=str(entry.get("name", "")),
            status=str(entry.get("status", "unknown")),
            template=bool(entry.get("template", 0)),
            lock=entry.get("lock"),
            cores=int(entry.get("cpus", 0)),
            memory_bytes=int(entry.get("maxmem", 0)),
            disk_bytes=int(entry.get("maxdisk", 0)),
        )
        for kind in ("qemu", "lxc")
        for entry in client.get(api_path("nodes", node, kind))
    ]
    return sorted(found, key=lambda guest: guest.vmid)


def archived_configuration(client: ProxmoxClient, node: str, volume: str) -> Configuration:
    """What the configuration in a backup says."""
    text = client.get(api_path("nodes", node, "vzdump", "extractconfig"), volume=volume)
    return parse(archived_config(str(text)))


def vm_configuration(client: ProxmoxClient, node: str, vmid: int) -> Configuration:
    """What a VM's configuration says, with changes that wait for a restart. Raises ProxmoxVmNotFoundError."""
    return parse(client.get(api_path("nodes", node, "qemu", vmid, "config")))


def vm_digest(client: ProxmoxClient, node: str, vmid: int) -> str:
    """Proxmox VE's digest of a VM's whole configuration. Raises ProxmoxVmNotFoundError."""
    return str(client.get(api_path("nodes", node, "qemu", vmid, "config"))["digest"])


def guest_addresses(client: ProxmoxClient, node: str, vmid: int) -> list[str]:
    """The addresses that a VM's guest agent tells, without loopback. Raises when it does not answer."""
    answer = client.get(api_path("nodes", node, "qemu", vmid, "agent", "network-get-interfaces"))
    return [
        str(address["ip-address"])
        for interface in answer.get("result") or []
        if interface.get("name") != "lo"
        for address in interface.get("ip-addresses") or []
        if "ip-address" in address
    ]
