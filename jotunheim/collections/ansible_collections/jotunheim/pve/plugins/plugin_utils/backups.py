"""The backups of a server: those under its VMID whose own configuration carries its UUID."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ansible_collections.jotunheim.pve.plugins.plugin_utils import volume
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_ours
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import (
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
)
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.configuration import archived_config

REMOVED = "backups removed"
"""What a job notes the backups under that it is about to remove."""


class Backups(NamedTuple):
    """Volume ids of the backups under a VMID.

    Attributes:
        ours: they carry the server's UUID, and PVE lets them go.
        others: those of other VMs that had the VMID, unreadable and protected ones, and those that are needed.
        storages: where was looked.
    """

    ours: list[str]
    others: list[str]
    storages: list[str]


def find(vm: Vm, storage: str | None, needed: Collection[str] = ()) -> Backups:
    """The backups under the VM's VMID.

    Args:
        storage: where to look; None: on all storages of the node that hold backups.
        needed: volumes that stay in any case.
    """
    found = Backups([], [], [storage] if storage else sorted(_storages(vm)))
    for name in found.storages:
        path = api_path("nodes", vm.node, "storage", name, "content")
        for entry in vm.client.get(path, content="backup", vmid=vm.vmid):
            volid = str(entry["volid"])
            stays = volid in needed or int(entry.get("protected", 0))
            ours = not stays and _carries_uuid(vm, volid)
            (found.ours if ours else found.others).append(volid)
    return Backups(sorted(found.ours), sorted(found.others), found.storages)


def remove(vm: Vm, volid: str, timeout_seconds: float) -> None:
    """Remove a backup and wait until it is gone."""
    vm.client.run(
        "delete backup",
        "DELETE",
        volume.path(vm, volid),
        timeout_seconds=timeout_seconds,
    )


def _carries_uuid(vm: Vm, volid: str) -> bool:
    try:
        text = vm.client.get(api_path("nodes", vm.node, "vzdump", "extractconfig"), volume=volid)
    except (ProxmoxUnavailableError, ProxmoxUnauthorizedError, ProxmoxPermissionError):
        raise
    except ProxmoxRequestError:
        return False  # a damaged archive proves nothing, so it is kept
    return is_ours(archived_config(str(text)), vm.uuid)


def _storages(vm: Vm) -> Iterator[str]:
    for storage in vm.client.get(api_path("nodes", vm.node, "storage"), content="backup"):
        if int(storage.get("active", 1)):
            yield str(storage["storage"])
