"""Restoring a VM from a backup archive, as a new VM or over an existing one."""

import asyncio
import time
import uuid

from jotunheim.sandbox import drives
from jotunheim.sandbox.backups import archived_config, find_archive
from jotunheim.sandbox.bridges import require_bridges
from jotunheim.sandbox.call import Call
from jotunheim.sandbox.configvalues import new_mac, parse_net, print_net
from jotunheim.sandbox.destroy import remove_vm
from jotunheim.sandbox.drives import format_size, formatting, is_cloudinit, parse_drive, print_drive
from jotunheim.sandbox.errors import ApiError, failure
from jotunheim.sandbox.power import start_vm
from jotunheim.sandbox.state import BackupContent, Vm, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.volumes import with_content
from jotunheim.sandbox.world import check_lock

DECOMPRESS = {"zst": "zstd -q -d -c", "gz": "zcat", "lzo": "lzop -d -c"}


async def restore(call: Call, overrides: dict[str, str]) -> str:
    """Start a restore. A missing archive and an unforced overwrite are refused at once."""
    world, vmid = call.world, call.vmid
    volid = str(call.params["archive"])
    what = f"unable to restore VM {vmid}"
    archive = find_archive(call, volid)
    if not call.may(f"/vms/{archive.vmid}", "VM.Backup"):
        call.require(f"/storage/{volid.partition(':')[0]}", "Datastore.AllocateSpace")
    storage = call.get("storage")
    if storage:
        world.volumes.image_storage(storage)
    existing = world.state.vms.get(vmid)
    if existing and not call.get("force"):
        raise failure(f"{what} - VM {vmid} already exists on node '{existing.node}'")
    content = archive.backup
    assert content is not None

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            try:
                require_bridges(call, content.config | overrides)
                _make_room(call, what)
                await _unpack(call, archive, content, overrides, worker)
            except ApiError as error:
                kept = "some or all disks were not completely restored. VM"
                worker.say(f"error before or during data restore, {kept} {vmid} state is NOT cleaned up.")
                raise failure(error.message) from error
            if call.get("start"):
                await start_vm(world, world.state.vms[vmid], worker)

    return call.task("qmrestore", vmid, work)


def _make_room(call: Call, what: str) -> None:
    """Take away the VM that is restored over, but not its backups."""
    vm = call.world.state.vms.get(call.vmid)
    if vm is None:
        return
    if vm.config.get("protection") == "1":
        raise failure(f"{what} - protection mode enabled")
    if vm.run:
        raise failure(f"{what} - vm is running")
    if vm.template:
        raise failure(f"{what} - vm is a template")
    check_lock(vm)
    pools = [pool for pool in call.world.state.pools.values() if vm.vmid in pool.vms]
    firewall = call.world.state.firewalls.get(vm.vmid)
    remove_vm(call.world, vm, unreferenced=False)
    for pool in pools:
        pool.vms.append(vm.vmid)
    if firewall:
        call.world.state.firewalls[vm.vmid] = firewall


async def _unpack(
    call: Call, archive: Volume, content: BackupContent, overrides: dict[str, str], worker: Worker
) -> None:
    world, vmid = call.world, call.vmid
    vm = Vm(vmid, call.node, {"lock": "create"})
    world.state.vms[vmid] = vm
    pool = call.get("pool")
    if pool and vmid not in world.state.pools[pool].vms:
        world.state.pools[pool].vms.append(vmid)
    path = world.volumes.path(archive.volid)
    reader = DECOMPRESS.get(path.rpartition(".")[2], "cat")
    scratch = f"/var/tmp/vzdumptmp{worker.task.pid}"  # noqa: S108 - PVE's path in a log line, never opened
    worker.say(
        f"restore vma archive: {reader} {path} | /usr/bin/vma extract -v -r {scratch}.fifo - {scratch}"
    )
    config = dict(content.config)
    worker.say(f"CFG: size: {len(archived_config(content))} name: qemu-server.conf")
    for key, size in content.disks.items():
        worker.say(f"DEV: dev_id=1 size: {size} devname: drive-{key}")
    worker.say(f"CTIME: {time.strftime('%a %b %d %H:%M:%S %Y', time.gmtime(content.created))}")
    for key in drives.drives_of(config):
        if key in content.disks or is_cloudinit(parse_drive(config[key])):
            config[key] = _new_volume(call, vm, key, config[key], content.disks.get(key), archive, worker)
    await world.sleep("restore")
    total = sum(content.disks.values())
    await asyncio.sleep(world.settings.copy_seconds("restore", total, call.get("bwlimit")))
    worker.say(f"progress 100% (read {total} bytes, duration 0 sec)")
    worker.say("rescan volumes...")
    config["vmgenid"] = str(uuid.uuid4())
    config.pop("template", None)
    if call.get("unique"):
        _make_unique(config)
    vm.config = config | overrides
    named = set(vm.config.values())
    for volume in with_content(world.volumes.of_vm(vmid), "images", vmid):
        if not any(volume.volid in value for value in named):
            vm.config[next(f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)] = volume.volid


def _new_volume(
    call: Call, vm: Vm, key: str, text: str, size: int | None, archive: Volume, worker: Worker
) -> str:
    volumes = call.world.volumes
    drive = parse_drive(text)
    storage = call.get("storage") or drive["file"].partition(":")[0]
    format_ = drive["file"].rpartition(".")[2]
    if size is None:
        text, _ = drives.allocate(volumes, vm, key, f"{storage}:cloudinit,format={format_}")
        return text
    volid = drives.new_volid(volumes, vm.node, storage, vm.vmid, format_)
    used = max(393_216, int(archive.used * 2.5))
    if not volumes.fits(volumes.storage(storage), vm.node, used):
        raise drives.no_space(volumes, storage, vm)
    volume = volumes.create(vm.node, volid, vmid=vm.vmid, size=size, used=used, format=format_)
    volume.files = archive.backup.files.get(key) if archive.backup else None
    worker.say(formatting(volumes.path(volid), size, format=format_))
    worker.say(f"new volume ID is '{volid}'")
    worker.say(f"map 'drive-{key}' to '{volumes.path(volid)}' (write zeros = 0)")
    return print_drive(drive | {"file": volid, "size": format_size(size)})


def _make_unique(config: dict[str, str]) -> None:
    for key in [k for k in config if k.startswith("net") and k[3:].isdigit()]:
        config[key] = print_net(parse_net(config[key]) | {"macaddr": new_mac()})
    config["smbios1"] = f"uuid={uuid.uuid4()}"
