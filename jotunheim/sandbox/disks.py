"""Changing disks: resize, unlink, move, hand over, and turn a VM into a template."""

import asyncio

from fakepve.formats import split_list

from jotunheim.sandbox import drives
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.config import update_in_task
from jotunheim.sandbox.drives import format_size, is_cdrom, parse_drive, print_drive
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.pending import add_unused, free_volume, in_snapshot, owns, settle
from jotunheim.sandbox.state import Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import assert_unmodified, check_digest
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
            call.require(f"/storage/{drive['file'].partition(':')[0]}", "Datastore.AllocateSpace")
            volume = world.volumes.find(vm.node, drive["file"])
            if volume is None:
                raise failure(f"volume '{drive['file']}' does not exist")
            wanted = drives.parse_size(size.lstrip("+")) + (volume.size if size.startswith("+") else 0)
            if wanted >= drives.TOO_LARGE:
                raise failure("qemu-img: Image size must be less than 8 EiB!")
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

    def check() -> None:
        vm = call.vm()
        check_lock(vm)
        if vm.snapshots:
            raise failure("unable to create template, because VM contains snapshots")
        if vm.template and only is None:
            raise failure("you can't convert a template to a template")
        if vm.run:
            raise failure("you can't convert a VM to template if VM is running")

    check()

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            check()
            vm = call.vm()
            await world.sleep("template")
            vm.config["template"] = "1"
            for key in drives.disks_of(vm.config):
                if only not in (None, key):
                    continue
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
    if "target-vmid" in call.params and "storage" in call.params:
        why = "either set 'storage' or 'target-vmid', but not both"
        raise bad_params(target_vmid=why, storage=why)
    if "target-vmid" in call.params:
        return _reassign(call)
    if "storage" in call.params:
        return _to_storage(call)
    call.vm()
    why = "both 'storage' and 'target-vmid' missing, either needs to be set"
    raise bad_params(target_vmid=why, storage=why)


def _movable(call: Call, key: str, storage: str) -> Volume:
    """The volume to move to another storage, or PVE's error in PVE's order of checks."""
    vm, format_ = call.vm(), call.get("format")
    check_lock(vm)
    assert_unmodified(vm, call.get("digest"))
    if key not in vm.config:
        raise failure(f"disk '{key}' does not exist")
    drive = parse_drive(vm.config[key])
    if is_cdrom(drive) and not drives.is_cloudinit(drive):
        raise failure("you can't move a cdrom")
    volid = drive["file"]
    if storage == volid.partition(":")[0] and format_ in (None, volid.rpartition(".")[2]):
        raise failure("you can't move to the same storage with same format")
    if call.get("delete") and in_snapshot(vm, volid):
        raise failure("you can't move a disk with snapshots and delete the source")
    volume = call.world.volumes.find(vm.node, volid)
    if volume is None:
        raise failure(f"volume '{volid}' does not exist")
    return volume


def _to_storage(call: Call) -> str:
    world, vmid = call.world, call.vmid
    key, storage = str(call.params["disk"]), str(call.params["storage"])
    call.require(f"/storage/{storage}", "Datastore.AllocateSpace")
    _movable(call, key, storage)

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            source = _movable(call, key, storage)
            if in_snapshot(call.vm(), source.volid):
                worker.say("moving disk with snapshots, snapshots will not be moved!")
            try:
                await _copy(call, key, source, storage, worker)
            except ApiError as error:
                raise failure(f"storage migration failed: {error.message}") from error
            vm, volid = call.vm(), source.volid
            if call.get("delete"):
                free_volume(world, vm, volid)
            else:
                add_unused(vm, volid)

    return call.task("qmmove", vmid, work)


async def _copy(call: Call, key: str, source: Volume, storage: str, worker: Worker) -> None:
    """Copy a disk's volume to another storage and put the copy in its place."""
    world, vm, volid = call.world, call.vm(), source.volid
    if "images" not in world.volumes.storage(storage).content:
        raise failure(f"storage '{storage}' does not support content-type 'images'")
    format_ = call.get("format") or source.format
    new = drives.new_volid(world.volumes, vm.node, storage, vm.vmid, format_)
    worker.say(f"create full clone of drive {key} ({volid})")
    used = world.volumes.content(source)
    worker.say(drives.formatting(world.volumes.path(new), source.size, format=format_))
    if not world.volumes.fits(world.volumes.storage(storage), vm.node, used):
        raise failure("copy failed: No space left on device")
    await world.sleep("move_disk")
    await _copy_time(call, source.size)
    files = await world.files_of(source)
    moved = world.volumes.create(vm.node, new, vmid=vm.vmid, size=source.size, used=used, format=format_)
    moved.files = files
    vm.config[key] = print_drive(
        parse_drive(vm.config[key]) | {"file": new, "size": format_size(source.size)}
    )


async def _copy_time(call: Call, size: int) -> None:
    await asyncio.sleep(call.world.settings.copy_seconds("clone", size, call.get("bwlimit")))


def _reassign(call: Call) -> str:
    world, vmid, key = call.world, call.vmid, str(call.params["disk"])
    target_id, target_key = int(call.params["target-vmid"]), str(call.get("target-disk", key))
    call.require(f"/vms/{target_id}", "VM.Config.Disk")
    if target_id == vmid:
        raise bad_params(target_vmid="must be different than source VMID to reassign disk")

    def check() -> None:
        source, target = world.state.vms.get(vmid), world.state.vms.get(target_id)
        if source is None:
            raise failure(f"could not find VM {vmid}")
        if target is None:
            raise failure(f"could not find target VM {target_id}")
        if target.node != source.node:
            raise failure(f"Both VMs need to be on the same node ({source.node} != {target.node})")
        source = call.vm()
        check_lock(source)
        check_lock(target)
        if source.template or target.template:
            raise failure("Can't move disks from or to template VMs")
        for vm, parameter in ((source, "digest"), (target, "target-digest")):
            assert_unmodified(vm, call.get(parameter), f"VM {vm.vmid}: ")
        if key not in source.config:
            raise failure(f"Disk '{key}' for VM '{vmid}' does not exist")
        if target_key in target.config:
            raise failure(f"Target disk key '{target_key}' is already in use for VM '{target_id}'")
        drive = parse_drive(source.config[key])
        if is_cdrom(drive) and not drives.is_cloudinit(drive):
            raise failure("CD drive contents can't be moved to another VM")
        if in_snapshot(source, drive["file"]):
            raise failure("Can't move disk used by a snapshot to another VM")
        if source.run and not key.startswith("unused"):
            raise failure("Cannot move disk to another VM while the source VM is running - detach first")
        call.require(f"/storage/{drive['file'].partition(':')[0]}", "Datastore.AllocateSpace")

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
    if target_key.startswith("unused"):
        target.config[target_key] = new
        return
    drive = {"size": format_size(volume.size)} | drive | {"file": new}
    update_in_task(world, target, {target_key: print_drive(drive)}, worker)
