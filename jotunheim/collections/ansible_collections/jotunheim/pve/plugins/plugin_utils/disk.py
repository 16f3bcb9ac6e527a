"""Disks: which one holds the system, how big it is, and how it grows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan, Resize
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import ProxmoxNotFoundError

_DISK = re.compile(r"(scsi|virtio|sata|ide)\d+")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_GRAIN_BYTES = 1024**2

# Storages round a size up to their extents (LVM 4 MiB, ZFS and Ceph less); 64 MiB is more than any.
_ROUNDING_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Disk:
    """A wanted size. `device` None: the disk that the VM boots from."""

    size_bytes: int
    device: str | None = None


def disk(config: Mapping[str, Any], wanted: Disk) -> Plan:
    """The plan that grows a disk.

    Raises:
        DataValidationError: the size is smaller than the disk's, or it has to grow to one that is not a whole number of MiB.
        ProxmoxNotFoundError: there is no such disk.
    """
    plan = Plan()
    device = wanted.device or system_disk(config)
    current = disk_sizes(config).get(device)
    if current is None:
        raise ProxmoxNotFoundError(f"The VM has no disk {device} with a known size.")
    check_growth(device, current, wanted.size_bytes, "size_bytes")
    if wanted.size_bytes > current:
        if wanted.size_bytes % _GRAIN_BYTES:
            raise DataValidationError(
                [FieldProblem("size_bytes", f"must be a multiple of {_GRAIN_BYTES} (1 MiB)")]
            )
        plan.resizes.append(Resize(device, wanted.size_bytes))
        plan.changes.append(Change(f"{device}.size_bytes", current, wanted.size_bytes))
    return plan


def check_growth(what: str, current: int, wanted: int, field: str) -> None:
    """Raise DataValidationError for the field when a disk, or what it is made of, would have to shrink."""
    if wanted < current - _ROUNDING_BYTES:
        reason = f"{what} has {current} bytes and cannot shrink to {wanted}: Proxmox VE only grows disks"
        raise DataValidationError([FieldProblem(field, reason)])


def same_size(one: int, other: int) -> bool:
    """Whether two sizes differ by no more than storages round."""
    return abs(one - other) <= _ROUNDING_BYTES


def disk_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """Sizes in bytes of the VM's disks (not of CD-ROM and cloud-init drives) by device."""
    sizes = {}
    for key, value in config.items():
        options = Properties(str(value), "file")
        if _DISK.fullmatch(key) and options.get("media") != "cdrom" and "size" in options:
            sizes[key] = _bytes(options["size"])
    return sizes


def system_disk(config: Mapping[str, Any]) -> str:
    """The device that the VM boots from: the first disk of the boot order, or else the only disk.

    Raises:
        ProxmoxNotFoundError: nothing says which disk it is.
    """
    disks = disk_sizes(config)
    order = Properties(str(config.get("boot", ""))).get("order", "").split(";")
    for device in [*order, str(config.get("bootdisk", ""))]:
        if device in disks:
            return device
    if len(disks) == 1:
        return next(iter(disks))
    raise ProxmoxNotFoundError(
        "The VM's boot order names no disk.", hint="Set the boot order on the template, or name the disk."
    )


def storage_of(config: Mapping[str, Any], device: str) -> str:
    """The storage that holds a device's volume."""
    return Properties(str(config[device]), "file")["file"].partition(":")[0]


def _bytes(size: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", size)
    if match is None:
        raise ValueError(f"unknown disk size {size!r}")
    return int(float(match[1]) * _UNITS[match[2]])
