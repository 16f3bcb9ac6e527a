"""What of a node carries our mark, or could be ours: VMs, disks and backups. Only read."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from jotunheim.exceptions.repository import (
    ProxmoxRequestError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
    ProxmoxVmNotFoundError,
)
from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path
from jotunheim.repositories.proxmox.configuration import BACKUP_MARK, parse
from jotunheim.repositories.proxmox.facts import as_pve_would
from jotunheim.repositories.proxmox.reads import guests, used_vmids

Found = TypeVar("Found")


@dataclass(frozen=True)
class MarkedVm:
    """A VM whose description names a server of ours."""

    vmid: int
    name: str
    running: bool
    mark: UUID
    copied: bool
    """Its SMBIOS UUID is not the one that it is marked with."""
    protected: bool
    disk_bytes: int | None


@dataclass(frozen=True)
class Volume:
    """A disk or a backup on a storage."""

    storage: str
    name: str
    """What PVE calls it: `vmstore:vm-1000-disk-0`."""
    vmid: int
    size_bytes: int
    mark: UUID | None
    """Of a backup: which of ours its notes name."""
    protected: bool


@dataclass(frozen=True)
class Lacking:
    """What could not be read."""

    storages: set[str] = field(default_factory=set)
    vmids: set[int] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    """What the node said to it."""


@dataclass(frozen=True)
class Marked:
    """What a node has."""

    vms: list[MarkedVm]
    disks: list[Volume]
    backups: list[Volume]
    vmids: frozenset[int]
    """Of all guests of the cluster that the token may see."""
    peers: frozenset[str]
    """Names of the nodes of its cluster."""
    shared: frozenset[str]
    """Storages that other nodes see as well."""
    lacking: Lacking


def read(client: ProxmoxClient, node: str, known_vmids: Collection[int]) -> Marked:
    """Ask a node. A request for each VM, so those under known VMIDs are passed over, and one for each storage.

    Raises:
        ProxmoxRequestError: it gives no usable answer. A storage that is not to be read is no such error.
    """
    with as_pve_would(f"node {node}"):
        peers = frozenset(str(peer["node"]) for peer in client.get("nodes"))
        storages = list(client.get(api_path("nodes", node, "storage"), enabled=1))
        lacking = Lacking()

        def listed(content: str, volume: Callable[[str, Mapping[str, Any]], Volume | None]) -> list[Volume]:
            found: list[Volume] = []
            for storage in storages:
                name = str(storage["storage"])
                if content not in str(storage.get("content", "")).split(","):
                    continue
                try:
                    entries = client.get(api_path("nodes", node, "storage", name, "content"), content=content)
                except ProxmoxUnauthorizedError:
                    raise
                except ProxmoxRequestError as error:  # this storage is away, or not to be seen
                    if isinstance(error, ProxmoxUnavailableError):
                        client.get("version")  # raises when it is the node that is away
                    lacking.storages.add(name)
                    lacking.told.append(error.message)
                    continue
                found += [known for entry in entries if (known := volume(name, entry))]
            return found

        return Marked(
            disks=listed("images", _disk),
            backups=listed("backup", _backup),
            vms=list(_vms(client, node, known_vmids, lacking)),
            # Last of all: whatever disk was made meanwhile has its VM by then.
            vmids=used_vmids(client),
            peers=peers,
            shared=frozenset(str(storage["storage"]) for storage in storages if storage.get("shared")),
            lacking=lacking,
        )


def _vms(
    client: ProxmoxClient, node: str, known_vmids: Collection[int], lacking: Lacking
) -> Iterator[MarkedVm]:
    for guest in guests(client, node):
        if guest.container or guest.template or guest.vmid in known_vmids:
            continue
        try:
            answer = client.get(api_path("nodes", node, "qemu", guest.vmid, "config"))
        except ProxmoxVmNotFoundError:  # it went in between
            continue
        except (ProxmoxUnavailableError, ProxmoxUnauthorizedError):
            raise
        except ProxmoxRequestError as error:  # it is not to be seen, or its file is broken
            lacking.vmids.add(guest.vmid)
            lacking.told.append(error.message)
            continue
        config = parse(answer)
        mark = _uuid(config.mark)
        if mark is not None:
            yield MarkedVm(
                vmid=guest.vmid,
                name=guest.name,
                running=guest.status == "running",
                mark=mark,
                copied=config.uuid != mark,
                protected=bool(int(answer.get("protection", 0))),
                disk_bytes=config.disk_bytes,
            )


def _disk(storage: str, entry: Mapping[str, Any]) -> Volume | None:
    return _volume(storage, entry, None) if entry.get("vmid") else None


def _backup(storage: str, entry: Mapping[str, Any]) -> Volume | None:
    first = str(entry.get("notes", "")).partition("\n")[0].strip()
    mark = _uuid(first.removeprefix(BACKUP_MARK)) if first.startswith(BACKUP_MARK) else None
    return _volume(storage, entry, mark) if mark and entry.get("vmid") else None


def _volume(storage: str, entry: Mapping[str, Any], mark: UUID | None) -> Volume:
    return Volume(
        storage=storage,
        name=str(entry["volid"]),
        vmid=int(entry["vmid"]),
        size_bytes=int(entry.get("size") or 0),
        mark=mark,
        protected=bool(int(entry.get("protected", 0))),
    )


def _uuid(text: str | None) -> UUID | None:
    with suppress(ValueError):
        return UUID(text or "")
    return None
