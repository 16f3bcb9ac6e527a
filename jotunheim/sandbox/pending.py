"""Pending changes of a configuration: applied at once to a stopped VM, and to a running one by hotplug.

What cannot be changed while the VM runs stays pending until the VM is started anew.
"""

import re

from jotunheim.sandbox import drives
from jotunheim.sandbox.cloudinit import is_cloudinit_option, options_of
from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.drives import is_cdrom, is_cloudinit, is_drive, parse_drive
from jotunheim.sandbox.errors import bad_parameters, failure
from jotunheim.sandbox.pve84 import MAX_INDEX
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.world import World

AT_ONCE = frozenset(
    [
        "description",
        "hookscript",
        "lock",
        "migrate_downtime",
        "migrate_speed",
        "name",
        "onboot",
        "protection",
        "shares",
        "startup",
        "tags",
        "vmstatestorage",
        "hotplug",
        "balloon",
        "cpulimit",
        "cpuunits",
        "affinity",
    ]
)
"""Options that never wait for a restart."""


COLD_DRIVE_OPTIONS = [
    "aio",
    "cache",
    "detect_zeroes",
    "discard",
    "iothread",
    "product",
    "queues",
    "ro",
    "ssd",
    "vendor",
]
"""Options of a drive that QEMU only takes when the drive is plugged in."""


def owns(vm: Vm, volid: str) -> bool:
    """Whether a volume belongs to the VM, by its name."""
    found = re.search(r"(?:^|[:/])(\d+)/[^/]+$", volid)
    return bool(found) and found is not None and int(found[1]) == vm.vmid


def add_unused(vm: Vm, volid: str) -> None:
    """Keep a volume that no drive uses any more as the first free `unusedN`."""
    keys = [f"unused{n}" for n in range(MAX_INDEX["unused"])]
    if volid not in (vm.config.get(key) for key in keys):
        vm.config[next(key for key in keys if key not in vm.config)] = volid


def release_drive(world: World, vm: Vm, text: str, *, force: bool = False) -> None:
    """What becomes of a drive's volume when the drive goes: a cloud-init drive goes too, a disk is kept."""
    drive = parse_drive(text)
    volid = drive.get("file", "")
    if is_cdrom(drive) and not is_cloudinit(drive):
        return
    if not owns(vm, volid):
        return
    if is_cloudinit(drive):
        generated = world.volumes.find(vm.node, volid)
        if generated:
            world.volumes.remove(generated)  # even if a snapshot names it: the next start makes a new one
    elif force:
        free_volume(world, vm, volid)
    else:
        add_unused(vm, volid)


def in_snapshot(vm: Vm, volid: str) -> bool:
    """Whether a drive of a snapshot is on the volume."""
    configs = [snapshot.config for snapshot in vm.snapshots.values()]
    return any(
        parse_drive(config[key])["file"] == volid for config in configs for key in drives.drives_of(config)
    )


def free_volume(world: World, vm: Vm, volid: str) -> None:
    """Delete a VM's volume, unless a snapshot still holds it."""
    if in_snapshot(vm, volid):
        raise failure(f"unable to delete '{volid}' - volume is still in use (snapshot?)")
    volume = world.volumes.find(vm.node, volid)
    if volume is not None:
        if world.volumes.children(volume):
            raise failure(f"base volume '{volid.partition(':')[2]}' is still in use by linked clones")
        world.volumes.remove(volume)


def settle(world: World, vm: Vm) -> None:
    """Apply what can be applied now."""
    if vm.run:
        hotplug(world, vm)
    else:
        apply_all(world, vm)


def apply_all(world: World, vm: Vm) -> None:
    """Apply all pending changes, as for a stopped VM."""
    for name, force in list(vm.pending_delete.items()):
        _delete(world, vm, name, force)
    for name in list(vm.pending):
        _set(world, vm, name)


def hotplug(world: World, vm: Vm) -> None:
    """Apply the pending changes that a running VM takes."""
    features = _features(vm.config.get("hotplug"))
    errors = {}
    boot = drives.boot_devices(vm.run.config.get("boot", "")) if vm.run else []
    for name, force in list(vm.pending_delete.items()):
        if not _hot(name, features, old=vm.config.get(name), new=None):
            continue
        if is_drive(name) and name in boot:
            errors[name] = f"hotplug problem - can't unplug bootdisk '{name}'\n"
            continue
        _delete(world, vm, name, force)
    for name, value in list(vm.pending.items()):
        if not _hot(name, features, old=vm.config.get(name), new=value):
            continue
        bridge = parse_net(value).get("bridge") if re.fullmatch(r"net\d+", name) else None
        if bridge and bridge not in world.state.nodes[vm.node].bridges:
            errors[name] = f"hotplug problem - bridge '{bridge}' does not exist\n"
            continue
        _set(world, vm, name)
        if vm.run and not is_cloudinit_option(name):
            vm.run.config[name] = vm.config[name]
    if "cloudinit" in features and drives.cloudinit_drive(vm.config):
        vm.cloudinit = options_of(vm.config)
    if errors:
        raise bad_parameters(errors)


def _features(text: str | None) -> frozenset[str]:
    if text in (None, "1"):
        return frozenset({"network", "disk", "usb"})
    return frozenset() if text == "0" else frozenset((text or "").split(","))


def _hot(name: str, features: frozenset[str], *, old: str | None, new: str | None) -> bool:
    """Whether a running VM takes this change."""
    if name in AT_ONCE or name.startswith("unused") or is_cloudinit_option(name):
        return True
    if re.fullmatch(r"net\d+", name):
        return "network" in features
    if is_drive(name):
        media = parse_drive(new or old or "")
        if is_cdrom(media) and old and new:
            return True
        if old and new and parse_drive(old)["file"] == media["file"]:
            before = parse_drive(old)
            return all(before.get(key) == media.get(key) for key in COLD_DRIVE_OPTIONS)
        return "disk" in features and name.startswith(("scsi", "virtio"))
    if name == "vcpus":
        return "cpu" in features
    return name == "memory" and "memory" in features


def _delete(world: World, vm: Vm, name: str, force: bool) -> None:
    value = vm.config.get(name)
    if value is not None:
        if is_drive(name):
            release_drive(world, vm, value, force=force)
        vm.config.pop(name, None)
    if vm.run and not is_cloudinit_option(name):
        vm.run.config.pop(name, None)
    vm.pending_delete.pop(name, None)


def _set(world: World, vm: Vm, name: str) -> None:
    value, old = vm.pending.pop(name), vm.config.get(name)
    if is_drive(name) and old and parse_drive(old)["file"] != parse_drive(value)["file"]:
        release_drive(world, vm, old)
    vm.config[name] = value
    volid = parse_drive(value).get("file") if is_drive(name) else None
    for key in [k for k in vm.config if k.startswith("unused") and vm.config[k] == volid]:
        del vm.config[key]
