"""What a node has and how it is used: processors, memory, storages, bridges, VMs and disks. Six requests."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jotunheim.exceptions.repository import (
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxVmNotFoundError,
)
from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path

_UUID = re.compile(r"(?:^|,)uuid=([0-9A-Fa-f-]{36})(?:,|$)")
_NOT_THERE = 500
MAX_PID = 2**22
"""Of Linux, see proc(5)."""
MAX_COUNTED = 2**53
Found = TypeVar("Found")


@dataclass(frozen=True)
class Load:
    """A node's processors and memory, and how they are used right now."""

    version: str
    cpu_count: int
    cpu: float
    """0 to 1."""
    memory_bytes: int
    memory_used_bytes: int


@dataclass(frozen=True)
class StorageFacts:
    """A storage as a node sees it."""

    name: str
    type: str
    content: Sequence[str]
    shared: bool
    active: bool
    total_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True)
class Counters:
    """What a VM's process has counted since it began; it counts from 0."""

    pid: int | None
    """None: it is not told."""
    uptime_seconds: int
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True)
class Vm:
    """A VM of a node, or a template."""

    vmid: int
    name: str
    running: bool
    memory_bytes: int
    template: bool
    counters: Counters | None = None


@dataclass(frozen=True)
class Disk:
    """A disk on a storage, at its full size. The VMID says whose it is; None: nobody's."""

    vmid: int | None
    size_bytes: int


@dataclass(frozen=True)
class Facts:
    """All that a sync wants to know of a node. None: the token may not see it."""

    peers: frozenset[str]
    """Names of the nodes of its cluster, its own among them."""
    load: Load | None
    storages: Sequence[StorageFacts] | None
    bridges: Sequence[str] | None
    vms: Mapping[int, Vm]
    disks: Sequence[Disk] | None
    lacking: Sequence[str] = field(default_factory=list)
    """What the node says to what the token may not see."""


def read(client: ProxmoxClient, node: str, vm_storage: str) -> Facts:
    """Ask a node.

    Args:
        vm_storage: the storage whose disks are wanted.

    Raises:
        ProxmoxRequestError: it gives no usable answer. A missing privilege is no such error.
    """
    with as_pve_would(f"node {node}"):
        return _read(client, node, vm_storage)


@contextmanager
def as_pve_would(who: str) -> Iterator[None]:
    """A part in which an answer of another form is the node's error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProxmoxRequestError(
            f"What {who} tells is not what Proxmox VE would: {type(error).__name__}.",
            hint="Check host and port of the node.",
        ) from error


def _read(client: ProxmoxClient, node: str, vm_storage: str) -> Facts:
    lacking: list[str] = []

    def ask(reader: Callable[..., Found], *arguments: str) -> Found | None:
        try:
            return reader(client, node, *arguments)
        except ProxmoxPermissionError as error:
            lacking.append(error.message)
            return None

    peers = frozenset(str(peer["node"]) for peer in client.get("nodes"))
    vms = _vms(client, node)
    return Facts(
        peers=peers,
        load=ask(_load),
        storages=ask(_storages),
        bridges=ask(_bridges),
        vms=vms,
        disks=ask(_disks, vm_storage),
        lacking=lacking,
    )


def whereabouts(client: ProxmoxClient) -> list[tuple[int, str, str]]:
    """VMID, node and name of all VMs of the cluster that the token may see."""
    with as_pve_would("the cluster"):
        return [
            (int(guest["vmid"]), str(guest["node"]), str(guest.get("name", "")))
            for guest in client.get("cluster/resources", type="vm")
            if guest.get("type") == "qemu"
        ]


def template_vmids(client: ProxmoxClient, node: str) -> list[int]:
    """VMIDs of a node's templates, as far as the token sees them."""
    with as_pve_would(f"node {node}"):
        return sorted(vm.vmid for vm in _vms(client, node).values() if vm.template)


def smbios_uuid(client: ProxmoxClient, node: str, vmid: int) -> str:
    """The UUID that a VM carries, in lower case; empty: none, or the node does not have the VM, or will not tell."""
    try:
        config = client.get(api_path("nodes", node, "qemu", vmid, "config"))
    except (ProxmoxVmNotFoundError, ProxmoxPermissionError):
        return ""
    with as_pve_would(f"node {node}"):
        found = _UUID.search(str(config.get("smbios1", "")))
    return found[1].lower() if found else ""


def is_absent(client: ProxmoxClient, node: str, vmid: int) -> bool:
    """Whether a node says that it does not have a VM; that it will not tell is no such word."""
    try:
        client.get(api_path("nodes", node, "qemu", vmid, "config"))
    except ProxmoxVmNotFoundError:
        return True
    except ProxmoxPermissionError:
        pass
    return False


def _load(client: ProxmoxClient, node: str) -> Load:
    status = client.get(api_path("nodes", node, "status"))
    return Load(
        version=str(status.get("pveversion", "")).removeprefix("pve-manager/").partition("/")[0],
        cpu_count=int(status["cpuinfo"]["cpus"]),
        cpu=float(status.get("cpu", 0)),
        memory_bytes=int(status["memory"]["total"]),
        memory_used_bytes=int(status["memory"]["used"]),
    )


def _storages(client: ProxmoxClient, node: str) -> list[StorageFacts]:
    return [
        StorageFacts(
            name=str(storage["storage"]),
            type=str(storage.get("type", "")),
            content=sorted(filter(None, str(storage.get("content", "")).split(","))),
            shared=bool(storage.get("shared", 0)),
            active=bool(storage.get("active", 1)) and bool(storage.get("enabled", 1)),
            total_bytes=_bytes(storage.get("total")),
            used_bytes=_bytes(storage.get("used")),
        )
        for storage in client.get(api_path("nodes", node, "storage"))
    ]


def _bridges(client: ProxmoxClient, node: str) -> list[str]:
    listed = client.get(api_path("nodes", node, "network"), type="any_bridge")
    return sorted(str(bridge["iface"]) for bridge in listed)


def _vms(client: ProxmoxClient, node: str) -> dict[int, Vm]:
    return {
        int(vm["vmid"]): Vm(
            vmid=int(vm["vmid"]),
            name=str(vm.get("name", "")),
            running=vm.get("status") == "running",
            memory_bytes=int(vm.get("maxmem") or 0),
            template=bool(vm.get("template", 0)),
            counters=counters(vm),
        )
        for vm in client.get(api_path("nodes", node, "qemu"))
    }


def counters(vm: Mapping[str, Any]) -> Counters | None:
    """The counters in a VM's status, or in its entry of a node's list; None: it does not run, or tells nonsense."""
    if vm.get("status") != "running":
        return None
    try:
        pid = int(vm.get("pid") or 0)
        uptime, netin, netout = (_counted(vm.get(name)) for name in ("uptime", "netin", "netout"))
    except (TypeError, ValueError, OverflowError):
        return None
    return Counters(pid if 0 < pid <= MAX_PID else None, uptime, netin, netout)


def _counted(value: Any) -> int:
    """A number that can be added to others: no node has moved more bytes since it began."""
    return min(max(int(value or 0), 0), MAX_COUNTED)


def _disks(client: ProxmoxClient, node: str, storage: str) -> list[Disk] | None:
    try:
        listed = client.get(api_path("nodes", node, "storage", storage, "content"), content="images")
    except ProxmoxRequestError as error:
        if error.status == _NOT_THERE:  # the storage is not there, or not active; its own entry says so
            return None
        raise
    return [
        Disk(int(disk["vmid"]) if disk.get("vmid") else None, int(disk.get("size") or 0)) for disk in listed
    ]


def _bytes(value: Any) -> int | None:
    return int(value) if value is not None else None
