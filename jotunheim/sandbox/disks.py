"""Changing disks: resize, unlink, move, hand over, and turn a VM into a template."""

import asyncio

from fakepve.formats import split_list

from jotunheim.sandbox import drives
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.config import update_in_task
from jotunheim.sandbox.drives import format_size, is_cdrom, parse_drive, print_drive
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.pending import add_unused, free_volume, owns, settle
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import check_digest
from jotunheim.sandbox.world import check_lock

routes = Routes()


@routes("PUT", "/nodes/{node}/qemu/{vmid}/resize")
async def resize(call: Call) -> str:
    """Grow a disk, by an amount or to a size. Shrinking fails in the task."""
    world, vmid = call.world, call.vmid
    key, size = str(call.params["disk"]), str(call.params["size"])

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = call.vm()
            check_digest(vm, call.get("digest"))
            check_lock(vm)
            if key not in vm.config:
                raise failure(f"disk '{key}' does not exist")
            drive = parse_drive(vm.config[key])
            if is_cdrom(drive):
                raise failure("you can't resize a cdrom")
            volume = world.volumes.find(vm.node, drive["file"])
            if volume is None:
                raise failure(f"volume '{drive['file']}' does not exist")
            if vm.snapshots and volume.format != "qcow2":
                raise failure("can't resize volume: snapshots exist")
            wanted = drives.parse_size(size.lstrip("+")) + (volume.size if size.startswith("+") else 0)
            if wanted < volume.size:
                raise failure("shrinking disks is not supported")
            if wanted == volume.size:
                return
            await world.sleep("resize")
            world.volumes.resize(volume, size=wanted)
            worker.say("Image resized.")
            vm.config[key] = print_drive(drive | {"size": format_size(wanted)})

    return call.task("resize", vmid, work)


@routes("PUT", "/nodes/{node}/qemu/{vmid}/unlink")
async def unlink(call: Call) -> None:
    """Detach disks, or delete them with `force`."""
    async with call.world.vm_lock(call.vmid):
        vm = call.vm()
        check_lock(vm)
        for name in split_list(str(call.params["idlist"])):
            if name not in vm.config:
                continue
            volid = parse_drive(vm.config[name])["file"]
            if name.startswith("unused"):
                if owns(vm, volid):
                    free_volume(call.world, vm, volid)
                del vm.config[name]
            else:
                vm.pending_delete[name] = bool(call.get("force"))
        settle(call.world, vm)


@routes("POST", "/nodes/{node}/qemu/{vmid}/template")
async def template(call: Call) -> str:
    """Turn a stopped VM into a template: its disks become base images."""
    world, vmid = call.world, call.vmid
    only = call.get("disk")
    vm = call.vm()
    if vm.template and only is None:
        raise failure("you can't convert a template to a template")
    if vm.snapshots:
        raise failure("unable to create template, because VM contains snapshots")
    if vm.run:
        raise failure("you can't convert a VM to template if VM is running")
    if only is not None and only not in vm.config:
        raise bad_params(disk=f"unable to create base volume - no such disk '{only}'")
    check_lock(vm)

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = call.vm()
            check_lock(vm)
            await world.sleep("template")
            vm.config["template"] = "1"
            for key in [only] if only else drives.disks_of(vm.config):
                drive = parse_drive(vm.config[key])
                volume = world.volumes.find(vm.node, drive["file"])
                if volume and volume.vmid == vmid:
                    head, _, file = volume.volid.rpartition("/")
                    world.volumes.rename(volume, f"{head}/base-{file.removeprefix('vm-')}", vmid)
                    vm.config[key] = print_drive(drive | {"file": volume.volid})

    return call.task("qmtemplate", vmid, work)


@routes("POST", "/nodes/{node}/qemu/{vmid}/move_disk")
async def move_disk(call: Call) -> str:
    """Move a disk to another storage, or hand it to another VM."""
    if "target-vmid" in call.params:
        return _reassign(call)
    return _to_storage(call)


def _to_storage(call: Call) -> str:
    world, vmid, key = call.world, call.vmid, str(call.params["disk"])
    vm = call.vm()
    check_digest(vm, call.get("digest"))
    check_lock(vm)
    if "storage" not in call.params:
        raise bad_params(storage="property is missing and it is not optional")
    storage, format_ = str(call.params["storage"]), call.get("format")
    if key not in vm.config:
        raise failure(f"disk '{key}' does not exist")
    if is_cdrom(parse_drive(vm.config[key])):
        raise failure("you can't move a cdrom")
    world.volumes.image_storage(storage)
    volid = parse_drive(vm.config[key])["file"]
    source = world.volumes.find(vm.node, volid)
    if source is None:
        raise failure(f"disk '{key}' has no associated volume")
    if storage == volid.partition(":")[0] and (not format_ or format_ == source.format):
        raise failure("you can't move to the same storage with same format")
    if any(volid in value for s in vm.snapshots.values() for value in s.config.values()):
        raise failure("you can't move a disk with snapshots and delete the source")

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = call.vm()
            check_lock(vm)
            new = drives.new_volid(world.volumes, vm.node, storage, vmid, format_ or source.format)
            worker.say(f"create full clone of drive {key} ({volid})")
            used = world.volumes.content(source)
            if not world.volumes.fits(world.volumes.storage(storage), vm.node, used):
                raise failure("storage migration failed: No space left on device")
            worker.say(
                drives.formatting(world.volumes.path(new), source.size, format=format_ or source.format)
            )
            await world.sleep("move_disk")
            await _copy_time(call, source.size)
            files = await world.files_of(source)
            moved = world.volumes.create(
                vm.node, new, vmid=vmid, size=source.size, used=used, format=format_ or source.format
            )
            moved.files = files
            vm.config[key] = print_drive(parse_drive(vm.config[key]) | {"file": new})
            if call.get("delete"):
                free_volume(world, vm, volid)
            elif owns(vm, volid):
                add_unused(vm, volid)

    return call.task("qmmove", vmid, work)


async def _copy_time(call: Call, size: int) -> None:
    await asyncio.sleep(call.world.settings.copy_seconds("clone", size, call.get("bwlimit")))


def _reassign(call: Call) -> str:
    world, vmid, key = call.world, call.vmid, str(call.params["disk"])
    target_id, target_key = int(call.params["target-vmid"]), str(call.get("target-disk", key))
    call.require(f"/vms/{target_id}", "VM.Config.Disk")
    if target_id == vmid:
        raise bad_params(target_vmid="must be different than source VMID to reassign disk")

    def check() -> None:
        source, target = call.vm(), world.state.vms.get(target_id)
        if target is None:
            raise failure(f"could not find target VM {target_id}")
        check_digest(source, call.get("digest"))
        check_digest(target, call.get("target-digest"))
        check_lock(source)
        check_lock(target)
        if source.template:
            raise failure("Moving disks from a template is not supported")
        if target.node != source.node:
            raise failure("Both VMs need to be on the same node")
        if key not in source.config:
            raise failure(f"Source disk key '{key}' does not exist")
        if source.run and not key.startswith("unused"):
            raise failure("Cannot move disk to another VM while the source VM is running - detach first")
        if target_key in target.config:
            raise failure(f"Target disk key '{target_key}' is already in use for VM '{target_id}'")
        volid = parse_drive(source.config[key])["file"]
        if is_cdrom(parse_drive(source.config[key])):
            raise failure("CD-ROM drives cannot be moved")
        if any(volid in value for s in source.snapshots.values() for value in s.config.values()):
            raise failure("Can't move disk used by a snapshot to another owner")

    check()

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say), world.vm_lock(target_id, say=worker.say):
            check()
            await world.sleep("move_disk")
            _hand_over(call, key, target_id, target_key, worker)

    return call.task("qmmove", f"{vmid}-{key}>{target_id}-{target_key}", work)


def _hand_over(call: Call, key: str, target_id: int, target_key: str, worker: Worker) -> None:
    world = call.world
    source, target = call.vm(), world.state.vms[target_id]
    drive = parse_drive(source.config[key])
    volume = world.volumes.find(source.node, drive["file"])
    if volume is None:
        raise failure(f"volume '{drive['file']}' does not exist")
    worker.say(f"moving disk '{key}' from VM '{source.vmid}' to '{target_id}'")
    boot = drives.boot_devices(source.config.get("boot", ""))
    if key in boot:
        worker.say(f"removing disk '{key}' from boot order config")
        source.config["boot"] = drives.print_boot([device for device in boot if device != key])
    worker.say(f"removing disk '{key}' from VM '{source.vmid}' config")
    del source.config[key]
    storage, _, name = volume.volid.partition(":")
    new = drives.new_volid(world.volumes, target.node, storage, target_id, volume.format)
    if "/" in name.partition("/")[2]:
        new = f"{storage}:{'/'.join(name.split('/')[:2])}/{new.partition(':')[2]}"
    world.volumes.rename(volume, new, target_id)
    update_in_task(world, target, {target_key: print_drive(drive | {"file": new})}, worker)
