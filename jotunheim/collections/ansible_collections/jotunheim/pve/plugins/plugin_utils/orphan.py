"""What carries our mark and is in no record: found, proved to be what was meant, and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.jotunheim.pve.plugins.plugin_utils import archive, destroy, volume
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_adopted, marked_for
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import (
    OrphanChangedError,
    ProxmoxPermissionError,
    ProxmoxVmNotFoundError,
)
from jotunheim.repositories.proxmox import api_path

REMOVE_DISK = "disk removal"
_SCAN_AGAIN = "Scan the node for orphans again, and look at what is found."


@dataclass(frozen=True)
class Wanted:
    """What shall go.

    Attributes:
        storage, volume: of a disk or backup.
        despite: what was seen of it and does not matter.
        timeout_seconds: how long to wait for a task.
    """

    storage: str
    volume: str
    despite: frozenset[str]
    timeout_seconds: int


class Kind(NamedTuple):
    """How one kind of orphan is found and removed.

    Attributes:
        find: what there is, when it is what was meant; None: it is proved that there is none. Raises OrphanChangedError when it is
            something else by now.
        remove: removes it, and proves that it is gone.
    """

    find: Callable[[Vm, Wanted], Any]
    remove: Callable[[Vm, Any, Wanted], None]


def _find_vm(vm: Vm, wanted: Wanted) -> destroy.Found | None:
    found = destroy.find(vm, wanted.timeout_seconds)
    if found is None:
        return None
    if marked_for(found.config) != vm.uuid:
        vm.refuse()
    if not is_adopted(found.config, vm.uuid) and "copied" not in wanted.despite:
        raise _changed(f"VM {vm.vmid} carries the mark of {vm.uuid}, and another SMBIOS UUID")
    if found.status != "stopped" and "running" not in wanted.despite:
        raise _changed(f"VM {vm.vmid} is {found.status}")
    return found


def _remove_vm(vm: Vm, found: destroy.Found, wanted: Wanted) -> None:
    destroy.destroy(vm, found, wanted.timeout_seconds)


def _find_backup(vm: Vm, wanted: Wanted) -> archive.Archive | None:
    vm.client.settle(archive.REMOVE, wanted.timeout_seconds)
    named = _archive(vm, wanted)
    found = archive.find(vm, named)
    if found is not None and found.first_line != named.mark:
        raise _changed(f"Backup {found.volume} does not carry the mark of {vm.uuid}")
    if found is not None:
        archive.plan(found, archive.State.ABSENT, named)  # raises when it is protected
    return found


def _remove_backup(vm: Vm, found: archive.Archive, wanted: Wanted) -> None:
    archive.remove(vm, found, _archive(vm, wanted))


def _archive(vm: Vm, wanted: Wanted) -> archive.Wanted:
    return archive.Wanted(
        id=vm.uuid,
        storage=wanted.storage,
        vmid=vm.vmid,
        volume=wanted.volume,
        timeout_seconds=wanted.timeout_seconds,
    )


def _find_disk(vm: Vm, wanted: Wanted) -> str | None:
    vm.client.settle(REMOVE_DISK, wanted.timeout_seconds)
    if not _is_listed(vm, wanted):
        return None
    _prove_unused(vm, wanted.volume)
    return wanted.volume


def _remove_disk(vm: Vm, found: str, wanted: Wanted) -> None:
    try:
        vm.client.run(REMOVE_DISK, "DELETE", volume.path(vm, found), timeout_seconds=wanted.timeout_seconds)
    except ProxmoxPermissionError as error:
        raise ProxmoxPermissionError(
            error.message,
            status=error.status,
            hint=f"Give the node's token Datastore.Allocate on /storage/{wanted.storage}, which nothing else needs, "
            f"or on the node: pvesm free {found}",
        ) from None
    if _is_listed(vm, wanted):
        raise _changed(f"Disk {found} is still there, although Proxmox VE has removed it")


def _is_listed(vm: Vm, wanted: Wanted) -> bool:
    path = api_path("nodes", vm.node, "storage", wanted.storage, "content")
    listed = vm.client.get(path, content="images", vmid=vm.vmid)
    if any(str(entry["volid"]) == wanted.volume for entry in listed):
        return True
    return volume.is_there(vm, wanted.volume)


def _prove_unused(vm: Vm, disk: str) -> None:
    """Raise OrphanChangedError when a guest has the VMID, or uses the disk."""
    guests = vm.client.get("cluster/resources", type="vm")
    if any(int(guest["vmid"]) == vm.vmid for guest in guests) or vm.config() is not None:
        raise _changed(f"There is a guest {vm.vmid}, so disk {disk} may be its")
    for guest in guests:
        if any(disk in value for value in _values(vm, guest)):
            raise _changed(f"Guest {guest['vmid']} on node {guest['node']} uses disk {disk}")


def _values(vm: Vm, guest: dict[str, Any]) -> Iterator[str]:
    try:
        config = vm.client.get(
            api_path("nodes", guest["node"], guest.get("type", "qemu"), guest["vmid"], "config")
        )
    except ProxmoxVmNotFoundError:
        # It went in between: for good, or to another node, where it may use the disk.
        if _has_moved(vm, guest):
            raise _changed(f"Guest {guest['vmid']} has just left node {guest['node']}") from None
        return
    yield from map(str, config.values())


def _has_moved(vm: Vm, guest: dict[str, Any]) -> bool:
    listed = vm.client.get("cluster/resources", type="vm")
    return any(other["vmid"] == guest["vmid"] and other["node"] != guest["node"] for other in listed)


def _changed(what: str) -> OrphanChangedError:
    return OrphanChangedError(f"{what}; it was not touched.", hint=_SCAN_AGAIN)


KINDS = {
    "vm": Kind(_find_vm, _remove_vm),
    "disk": Kind(_find_disk, _remove_disk),
    "backup": Kind(_find_backup, _remove_backup),
}
