"""Swapping a VM's system disk for another VM's: pure plans for each request, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import described, description_text
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.progress import Progress
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import UnsupportedTemplateError

# How a system was installed: firmware, chipset, kind of system and disk controller belong to the disk.
TAKEN_OVER = ("bios", "machine", "ostype", "scsihw")

# State outside the disk that a VM either has or has not, and that a rebuild keeps.
_STATE_DISKS = ("efidisk0", "tpmstate0")

# PVE's limit for a description (qemu-server's schema).
_DESCRIPTION_CHARACTERS = 8192
_UNUSED_KEYS = tuple(f"unused{number}" for number in range(256))

Config = Mapping[str, Any]


def check_fit(config: Config, template: Config, template_vmid: int) -> None:
    """Raise UnsupportedTemplateError when the template's disk cannot become the VM's.

    Args:
        config: the VM's, with its old disk in place.
    """
    for key in _STATE_DISKS:
        if (key in config) != (key in template):
            has, lacks = ("VM", "template") if key in config else ("template", "VM")
            raise UnsupportedTemplateError(
                f"The {has} has {key} and the {lacks} has not: the VM cannot be rebuilt from VM {template_vmid}.",
                hint="Choose a template of the same firmware, or build a new server.",
            )
    if len(disk_sizes(template)) != 1:
        raise UnsupportedTemplateError(
            f"VM {template_vmid} has {len(disk_sizes(template))} disks; a rebuild replaces one disk by one.",
            hint="Choose a template with one disk.",
        )
    old, new = system_disk(config), system_disk(template)
    if new != old and new in config:
        raise UnsupportedTemplateError(
            f"The template's disk is {new}, and the VM has something else there.",
            hint=f"Choose a template that boots from {old}, or free {new}.",
        )


def check_room(config: Config, uuid: str, template: Config, rebuild_id: str) -> None:
    """Raise DataValidationError when the notes leave no room for the rebuild's lines."""
    begun = Progress.of(config).begun(replaced(config, system_disk(template)), rebuild_id, running=True)
    swapped = Progress(tuple(begun)).swapped(rebuild_id)
    text = description_text(config)
    if any(len(described(uuid, text, lines)) > _DESCRIPTION_CHARACTERS for lines in (begun, swapped)):
        reason = "leaves no room for the lines in which a rebuild notes its progress; shorten it"
        raise DataValidationError([FieldProblem("description", reason)])


def replaced(config: Config, new: str) -> list[tuple[str, str]]:
    """Keys that a swap touches, with their values before it."""
    old = system_disk(config)
    found = [(old, str(config[old]))]
    if new != old:
        found.append((new, ""))
    boot = str(config.get("boot", "")).strip()
    return [*found, ("boot", boot)] if boot else found


def new_device(under_way: Mapping[str, str]) -> str:
    """The key of the new disk, from the notes of the swap under way."""
    empty = [key for key, value in under_way.items() if not value]
    return empty[0] if empty else old_device(under_way)


def old_device(under_way: Mapping[str, str]) -> str:
    """The key of the old disk, from the notes of the swap under way."""
    return next(key for key, value in under_way.items() if value and key != "boot")


def detach(config: Config, uuid: str, new: str, rebuild_id: str, *, running: bool) -> Plan:
    """The write that takes the old disk off and notes it.

    Args:
        running: whether the VM ran before the swap.
    """
    lines = Progress.of(config).begun(replaced(config, new), rebuild_id, running=running)
    return Plan(writes=_description(config, uuid, lines), deletes=[system_disk(config)])


def attached(config: Config, uuid: str, source: Config, rebuild_id: str) -> Plan:
    """The write that makes the VM boot from the new disk and notes the rebuild.

    Args:
        config: the VM's, with the new disk.
        source: the scratch VM's, which knows what the disk was installed for.
    """
    progress = Progress.of(config)
    plan = Plan(writes=_description(config, uuid, progress.swapped(rebuild_id)))
    plan += taken_over(config, source)
    plan.writes["boot"] = new_boot(progress.under_way)
    return plan


def taken_over(config: Config, source: Config) -> Plan:
    """What belongs to the disk and differs."""
    plan = Plan()
    for key in TAKEN_OVER:
        if key in source:
            plan.set(key, config.get(key), source[key])
        else:
            plan.remove(key, config.get(key))
    return plan


def new_boot(under_way: Mapping[str, str]) -> str:
    """The boot order with the new disk in the old one's place."""
    old, new = old_device(under_way), new_device(under_way)
    order = Properties(under_way.get("boot", "")).get("order", "")
    devices = [new if device == old else device for device in order.split(";") if device]
    return f"order={';'.join(dict.fromkeys(devices if new in devices else [new, *devices]))}"


def handed_over(config: Config) -> str | None:
    """The volume at the new disk's place in a swap that is under way; None: nothing new is there."""
    under_way = Progress.of(config).under_way
    volume = _volume(str(config.get(new_device(under_way), "")))
    noted = {_volume(value) for value in under_way.values()}
    return volume if volume and volume not in noted else None


def undo(config: Config, uuid: str, discarded: str | None = None) -> Plan:
    """The write that takes back the swap under way: everything as it was noted.

    Args:
        discarded: the new disk's volume, which this write takes off; noted, because it has to go.
    """
    progress = Progress.of(config)
    plan = Plan()
    for key, value in progress.under_way.items():
        if value:
            plan.writes[key] = value
        elif key in config:
            plan.deletes.append(key)
    plan.writes |= _description(config, uuid, progress.undone(discarded))
    return plan


def discard(config: Config, uuid: str) -> Plan:
    """The write that removes new disks which swaps had attached before they were taken back."""
    progress = Progress.of(config)
    plan = Plan()
    plan.deletes = [key for key, _ in unused_volumes(config, progress.discarded)]
    if progress.discarded:
        plan.writes = _description(config, uuid, progress.without_discarded())
    return plan


def undone(config: Config, uuid: str) -> dict[str, Any]:
    """The configuration after `undo`; the same one when no swap is under way."""
    under_way = Progress.of(config).under_way
    if not under_way:
        return dict(config)
    volumes = {_volume(value) for value in under_way.values()}
    after = undo(config, uuid).applied_to(config)
    return {
        key: value
        for key, value in after.items()
        if not (key in _UNUSED_KEYS and _volume(str(value)) in volumes)
    }


def after(config: Config, uuid: str, source: Config, rebuild_id: str) -> dict[str, Any]:
    """The configuration after a swap, for check mode. The new disk's name is the source's."""
    config = {key: value for key, value in config.items() if key != "parent"}
    if not Progress.of(config).under_way:
        new = system_disk(source)
        volume = _volume(str(config[system_disk(config)]))
        config = detach(config, uuid, new, rebuild_id, running=False).applied_to(config)
        config[_free_unused(config)] = volume
    new = new_device(Progress.of(config).under_way)
    if new not in config:
        config[new] = source[new]
    return attached(config, uuid, source, rebuild_id).applied_to(config)


def clean(config: Config, uuid: str) -> Plan:
    """The write that removes the old disks of finished swaps and discarded new ones, and only those."""
    progress = Progress.of(config)
    plan = Plan()
    for key, volume in unused_volumes(config, progress.left_over_volumes):
        plan.deletes.append(key)
        plan.changes.append(Change("old_disk", volume, None))
    if progress.cleaned() != list(progress.lines):
        plan.writes = _description(config, uuid, progress.cleaned())
    return plan


def unused_volumes(config: Config, volumes: Sequence[str]) -> list[tuple[str, str]]:
    """Those of the volumes that the VM keeps as unused, with their keys."""
    return [
        (key, volume)
        for key in _UNUSED_KEYS
        if key in config and (volume := _volume(str(config[key]))) in volumes
    ]


def _description(config: Config, uuid: str, lines: Iterable[str]) -> dict[str, Any]:
    return {"description": described(uuid, description_text(config), lines)}


def _free_unused(config: Config) -> str:
    return next(key for key in _UNUSED_KEYS if key not in config)


def _volume(value: str) -> str:
    return Properties(value, "file").get("file", "")
