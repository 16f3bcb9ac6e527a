"""Restoring a VM from a backup, as a new VM or over an existing one.

As PVE does it: the VM is locked (`create`) from the request on, what can be refused is refused before anything is
taken away, and from then on a failure leaves a VM without disks and without a lock.
"""

import asyncio
import copy
import time
import uuid
from collections.abc import Mapping

from jotunheim.sandbox import drives, pbs
from jotunheim.sandbox.backups import archived_config, look_up_archive
from jotunheim.sandbox.bridges import require_bridges
from jotunheim.sandbox.call import Call
from jotunheim.sandbox.configvalues import new_mac, parse_net, print_net
from jotunheim.sandbox.drives import format_size, formatting, is_cloudinit, is_drive, parse_drive, print_drive
from jotunheim.sandbox.errors import ApiError, bad_parameters, failure
from jotunheim.sandbox.power import start_vm
from jotunheim.sandbox.state import BackupContent, Vm, Volume
from jotunheim.sandbox.storage import require_volume_access
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.volumes import with_content
from jotunheim.sandbox.world import check_lock

DECOMPRESS = {"zst": "zstd -q -d -c", "gz": "zcat", "lzo": "lzop -d -c"}
PATIENCE = 5.0
"""Seconds that the request waits for the VM's lock file."""
KEPT = "some or all disks were not completely restored. VM"


async def restore(call: Call, overrides: dict[str, str]) -> str:
    """Start a restore. An unforced overwrite, a locked VM and a missing file are refused at once."""
    world, vmid = call.world, call.vmid
    volid = str(call.params["archive"])
    clashing = [name for name in overrides if is_drive(name)]
    if clashing:
        raise bad_parameters(dict.fromkeys(clashing, "option conflicts with option 'archive'"))
    archive = look_up_archive(call, volid)
    if call.world.volumes.parse(volid)[1] != vmid:
        require_volume_access(call, volid)
    storage = call.get("storage")
    if storage:
        world.volumes.image_storage(storage)
    what = f"unable to restore VM {vmid} -"
    await _reserve(call, what)

    async def work(worker: Worker) -> None:
        vm = call.vm()
        try:
            async with world.vm_lock(vmid, say=worker.say):
                await _restore(call, vm, archive, overrides, worker)
        except (ApiError, asyncio.CancelledError):
            vm.config.pop("lock", None)
            worker.say(f"error before or during data restore, {KEPT} {vmid} state is NOT cleaned up.")
            raise
        pool = call.get("pool")
        if pool and vmid not in world.state.pools[pool].vms:
            world.state.pools[pool].vms.append(vmid)
        if call.get("start"):
            worker.say("Execute autostart")
            async with world.vm_lock(vmid, say=worker.say):
                await start_vm(world, vm, worker)

    return call.task("qmrestore", vmid, work)


async def _reserve(call: Call, what: str) -> None:
    """Lock the VM, or make an empty one with the lock."""
    world, vmid = call.world, call.vmid
    try:
        async with world.vm_lock(vmid, timeout=PATIENCE):
            existing = world.state.vms.get(vmid)
            if existing and not (call.get("force") and existing.node == call.node):
                raise failure(f"VM {vmid} already exists on node '{existing.node}'")
            if existing:
                check_lock(existing)
            vm = existing or Vm(vmid, call.node, {})
            world.state.vms[vmid] = vm
            vm.config["lock"] = "create"
    except ApiError as error:
        raise failure(f"{what} {error.message}") from error


async def _restore(
    call: Call, vm: Vm, archive: Volume | None, overrides: dict[str, str], worker: Worker
) -> None:
    what = f"unable to restore VM {vm.vmid} -"
    if vm.config.get("protection") == "1":
        raise failure(f"{what} protection mode enabled")
    if vm.run:
        raise failure(f"{what} vm is running")
    if vm.template:
        raise failure(f"{what} vm is a template")
    if archive is None or archive.backup is None:
        raise _no_snapshot(str(call.params["archive"]), worker)
    content = archive.backup
    require_bridges(call, content.config | overrides)
    _say_what_comes(call, archive, content, worker)
    if content.firewall:
        call.world.state.firewalls[vm.vmid] = copy.deepcopy(content.firewall)
    devices = _devices(call, content)
    _take_away(call, vm, devices, on_pbs=archive.format.startswith("pbs-"))
    await _write_disks(call, vm, archive, content, devices, worker)
    worker.say("rescan volumes...")
    config = _restored(content.config, devices)
    if call.get("unique"):
        _make_unique(config)
    vm.config = config | overrides
    _rescan(call, vm)


def _rescan(call: Call, vm: Vm) -> None:
    """Disks of the VM that no drive uses become unused ones."""
    used = {parse_drive(vm.config[key])["file"] for key in drives.drives_of(vm.config)}
    for volume in with_content(call.world.volumes.of_vm(vm.vmid), "images", vm.vmid):
        if volume.volid not in used:
            vm.config[next(f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)] = volume.volid


def _no_snapshot(volid: str, worker: Worker) -> ApiError:
    """A Proxmox Backup Server does not have the snapshot; only its client's exit code is left of that."""
    worker.say(f"Could not extract backed up config: {pbs.missing(volid).message}")
    worker.say("Skipping early checks!")
    worker.say(pbs.missing(volid).message.partition("failed: ")[2])
    repository = pbs.repository(volid.partition(":")[0])
    scratch = f"/var/tmp/vzdumptmp{worker.task.pid}"  # noqa: S108 - PVE's path in a message, never opened
    command = f"restore '--crypt-mode=none' {pbs.snapshot_of(volid)} index.json {scratch}/index.json"
    return failure(
        f"command '/usr/bin/proxmox-backup-client {command} --repository {repository}' failed: exit code 255"
    )


def _say_what_comes(call: Call, archive: Volume, content: BackupContent, worker: Worker) -> None:
    if archive.format.startswith("pbs-"):
        return
    path = call.world.volumes.path(archive.volid)
    reader = DECOMPRESS.get(path.rpartition(".")[2], "cat")
    scratch = f"/var/tmp/vzdumptmp{worker.task.pid}"  # noqa: S108 - PVE's path in a log line, never opened
    worker.say(
        f"restore vma archive: {reader} {path} | /usr/bin/vma extract -v -r {scratch}.fifo - {scratch}"
    )
    worker.say(f"CFG: size: {len(archived_config(content))} name: qemu-server.conf")
    if content.firewall:
        worker.say(f"CFG: size: {len(repr(content.firewall))} name: qemu-server.fw")
    for key, size in content.disks.items():
        worker.say(f"DEV: dev_id=1 size: {size} devname: drive-{key}")
    worker.say(f"CTIME: {time.strftime('%a %b %d %H:%M:%S %Y', time.gmtime(content.created))}")


def _devices(call: Call, content: BackupContent) -> dict[str, dict[str, str]]:
    """The drives to restore with the storage to restore each to; refuses what cannot hold a disk."""
    devices = {}
    for key in drives.drives_of(content.config):
        drive = parse_drive(content.config[key])
        if key not in content.disks and not is_cloudinit(drive):
            continue
        storage = call.get("storage") or drive["file"].partition(":")[0]
        if "images" not in call.world.volumes.storage(storage).content:
            raise failure(f"Content type 'images' is not available on storage '{storage}'")
        call.require(f"/storage/{storage}", "Datastore.AllocateSpace")
        devices[key] = drive | {"storage": storage}
    return devices


def _take_away(call: Call, vm: Vm, devices: Mapping[str, object], *, on_pbs: bool) -> None:
    """Remove the disks that are restored, and all snapshots. Other disks stay, and become unused."""
    world, is_new = call.world, set(vm.config) <= {"lock"}
    for key in drives.drives_of(vm.config):
        volume = world.volumes.find(vm.node, parse_drive(vm.config[key])["file"])
        if volume and key in devices and volume.vmid == vm.vmid and volume.content == "images":
            world.volumes.remove(volume)
    for snapshot in vm.snapshots.values():
        memory = world.volumes.find(vm.node, snapshot.vmstate) if snapshot.vmstate else None
        if memory:
            world.volumes.remove(memory)
    for held in (vm.snapshots, vm.pending, vm.pending_delete, vm.cloudinit):
        held.clear()
    vm.config = {"lock": "create"} if is_new and not on_pbs else {"lock": "create", "memory": "128"}


async def _write_disks(
    call: Call,
    vm: Vm,
    archive: Volume,
    content: BackupContent,
    devices: dict[str, dict[str, str]],
    worker: Worker,
) -> None:
    """Allocate the disks, each in its place in `devices`, and fill them. After a failure none is left."""
    world, made = call.world, list[Volume]()
    total = sum(content.disks.values())
    try:
        for key, drive in devices.items():
            made.append(_allocate(call, vm, drive, content.disks.get(key), archive, worker))
            made[-1].files = content.files.get(key)
        await world.sleep("restore")
        await asyncio.sleep(world.settings.copy_seconds("restore", total, call.get("bwlimit")))
    except (ApiError, asyncio.CancelledError):
        for volume in made:
            world.volumes.remove(volume)
            worker.say(f"temporary volume '{volume.volid}' sucessfuly removed")
        raise
    for key, size in content.disks.items():
        target = world.volumes.path(devices[key]["file"])
        if archive.format.startswith("pbs-"):
            for line in pbs.restore_lines(archive.volid, key, target, size):
                worker.say(line)
        else:
            worker.say(f"map 'drive-{key}' to '{target}' (write zeros = 0)")
    if not archive.format.startswith("pbs-"):
        worker.say(f"progress 100% (read {total} bytes, duration 0 sec)")


def _allocate(
    call: Call, vm: Vm, drive: dict[str, str], size: int | None, archive: Volume, worker: Worker
) -> Volume:
    """The volume for a drive of an archive, whose new id it notes. A cloud-init drive has no size."""
    volumes, storage = call.world.volumes, drive.pop("storage")
    format_ = drive["file"].rpartition(".")[2]
    if size is None:
        text, made = drives.allocate(volumes, vm, "", f"{storage}:cloudinit,format={format_}")
        drive["file"] = parse_drive(text)["file"]
        worker.say(f"new volume ID is '{drive['file']}'")
        found = made or volumes.find(vm.node, drive["file"])
        assert found is not None
        return found
    volid = drives.new_volid(volumes, vm.node, storage, vm.vmid, format_)
    used = max(393_216, int(archive.used * 2.5))
    if not volumes.fits(volumes.storage(storage), vm.node, used):
        raise drives.no_space(volumes, storage, vm)
    volume = volumes.create(vm.node, volid, vmid=vm.vmid, size=size, used=used, format=format_)
    worker.say(formatting(volumes.path(volid), size, format=format_))
    worker.say(f"new volume ID is '{volid}'")
    drive |= {"file": volid, "size": format_size(size)}
    return volume


def _restored(archived: Mapping[str, str], devices: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The configuration of an archive with the new volumes; a drive that is not in it becomes a comment."""
    config = {name: value for name, value in archived.items() if name != "template"}
    config |= {key: print_drive(drive) for key, drive in devices.items()}
    for key in drives.drives_of(archived):
        if parse_drive(archived[key]).get("backup") == "0":
            line = f"{key}: {config.pop(key)}"
            config["description"] = f"{config['description']}\n{line}" if "description" in config else line
    if config.get("vmgenid", "0") != "0":
        config["vmgenid"] = str(uuid.uuid4())
    return config


def _make_unique(config: dict[str, str]) -> None:
    for key in [k for k in config if k.startswith("net") and k[3:].isdigit()]:
        config[key] = print_net(parse_net(config[key]) | {"macaddr": new_mac()})
    if "smbios1" in config:
        others = [part for part in config["smbios1"].split(",") if not part.startswith("uuid=")]
        config["smbios1"] = ",".join([f"uuid={uuid.uuid4()}", *others])
