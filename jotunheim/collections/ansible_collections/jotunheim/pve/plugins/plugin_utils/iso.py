"""The CD-ROM drive that holds an ISO image: which one it is, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties

from jotunheim.exceptions.model import DataValidationError, FieldProblem

_EMPTY = "none"
_IMAGE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*:iso/[^/,=]+")
_CDROM = "media=cdrom"

# ide2 is Proxmox VE's own choice for a CD-ROM; a cloud-init drive has it mostly, then ide0 is on the other bus.
_SLOTS = ("ide2", "ide0", "sata5", "sata4", "sata3", "sata2", "sata1", "sata0", "ide1", "ide3")
_DRIVE = re.compile(r"(ide|sata|scsi)\d+")


def iso(config: Mapping[str, Any], wanted: str) -> Plan:
    """The plan that puts an image into the drive for images, with a drive if there is none.

    That is the drive with this image, else the first one with another image, else the first empty one. Drives with
    anything else in them (cloud-init, a drive of the host) are left alone. A drive that is emptied stays: a
    running VM takes another image into a drive that it has, and a new drive only at a restart.

    Args:
        wanted: a volume such as ``local:iso/debian.iso``; "": none.

    Raises:
        DataValidationError: this is no volume of an image, or the VM has no place for a drive.
    """
    plan = Plan()
    drives = _drives(config)
    held = [key for key, image in drives.items() if image != _EMPTY]
    if not wanted:
        if held:
            plan.set(held[0], drives[held[0]], _EMPTY, sent=f"{_EMPTY},{_CDROM}")
        return plan
    if not _IMAGE.fullmatch(wanted):
        raise _problem("must be a volume of an ISO image, such as local:iso/debian.iso")
    if wanted in drives.values():
        return plan
    free = [slot for slot in _SLOTS if slot not in config]
    device = next(iter([*held, *drives, *free]), None)
    if device is None:
        raise _problem("the VM has no drive for an image, and no place for one")
    _listed(plan, config, device)
    plan.set(device, drives.get(device), wanted, sent=f"{wanted},{_CDROM}")
    return plan


def _drives(config: Mapping[str, Any]) -> dict[str, str]:
    """The drives that hold an image or nothing, by device, with what they hold."""
    found = {}
    for key in sorted(config):
        options = Properties(str(config[key]), "file") if _DRIVE.fullmatch(key) else Properties()
        file = options.get("file", "")
        if options.get("media") == "cdrom" and (file == _EMPTY or _IMAGE.fullmatch(file)):
            found[key] = file
    return found


def _listed(plan: Plan, config: Mapping[str, Any], device: str) -> None:
    """Say what Proxmox VE does anyway: a CD-ROM drive is put at the end of the boot order, when there is one."""
    order = Properties(str(config.get("boot", ""))).get("order", "")
    before = [entry for entry in order.split(";") if entry]
    if before and device not in before:
        after = [*before, device]
        plan.set("boot", before, after, sent=f"order={';'.join(after)}", shown_as="boot_order")


def _problem(message: str) -> DataValidationError:
    return DataValidationError([FieldProblem("iso", message)])
