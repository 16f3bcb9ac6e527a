"""Backups with vzdump: making archives, what they hold, defaults."""

import asyncio
import copy
import time
import uuid
from dataclasses import dataclass
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import drives, notes, pbs
from jotunheim.sandbox.boot import EMPTY_DISK, boot_vm, halted
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import format_size, parse_drive
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.protection import protected_limit, refuse_more_protected
from jotunheim.sandbox.state import BackupContent, Vm, Volume
from jotunheim.sandbox.storage import require_volume_access
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import text_of
from jotunheim.sandbox.world import World, check_lock

routes = Routes()

SUFFIX = {"0": ".vma", "1": ".vma.lzo", "lzo": ".vma.lzo", "gzip": ".vma.gz", "zstd": ".vma.zst"}
ARCHIVE_SHARE = 0.4
"""How much of a disk's used space its archive takes."""
EMPTY_ARCHIVE = 35_840


@dataclass(frozen=True)
class Job:
    """One vzdump job."""

    node: str
    storage: str
    vmids: list[int]
    mode: str
    compress: str
    notes: str | None
    protected: bool
    protected_limit: int | None
    """How many protected backups of a VM the sender may have on the storage."""
    arguments: str
    bwlimit: int | None


@routes("POST", "/nodes/{node}/vzdump")
async def vzdump(call: Call) -> str:
    """Back up VMs in a task. What is wrong with a VM or the storage shows in the task."""
    world = call.world
    if call.get("all"):
        vmids = sorted(vm.vmid for vm in world.state.vms.values() if vm.node == call.node)
    else:
        vmids = [int(vmid) for vmid in split_list(str(call.get("vmid", "")))]
    if not vmids:
        raise bad_params(vmid="property is missing")
    for vmid in vmids:
        call.require(f"/vms/{vmid}", "VM.Backup")
    storage = str(call.get("storage", "local"))
    call.require(f"/storage/{storage}", "Datastore.AllocateSpace")
    if any(name in call.sent for name in ("bwlimit", "ionice", "performance")):
        call.require("/", "Sys.Modify")
    if "\n" in str(call.get("notes-template", "")):
        raise bad_params(notes_template="contains a line feed")
    sent = " ".join(f"--{name} {_quoted(str(value))}" for name, value in call.sent.items() if name != "vmid")
    listed = " ".join(str(vmid) for vmid in vmids)
    job = Job(
        call.node,
        storage,
        vmids,
        str(call.get("mode", "snapshot")),
        str(call.get("compress", "0")),
        call.get("notes-template"),
        bool(call.get("protected")),
        protected_limit(call, storage),
        f"{listed} {sent} --node {call.node}",
        call.get("bwlimit"),
    )

    async def work(worker: Worker) -> None:
        await _run(world, job, worker)

    return call.task("vzdump", vmids[0] if len(vmids) == 1 else "", work)


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text or not text else text


async def _run(world: World, job: Job, worker: Worker) -> None:
    _check_storage(world, job.storage)
    worker.say(f"INFO: starting new backup job: vzdump {job.arguments}")
    failed = False
    for vmid in job.vmids:
        try:
            await _back_up(world, job, vmid, worker)
        except ApiError as error:
            failed = True
            worker.say(f"ERROR: Backup of VM {vmid} failed - {error.message}")
            worker.say(f"INFO: Failed at {_clock()}")
        except asyncio.CancelledError:
            worker.say(f"ERROR: Backup of VM {vmid} failed - {worker.interrupted}")
            worker.say(f"INFO: Failed at {_clock()}")
            worker.say(f"ERROR: Backup job failed - {worker.interrupted}")
            raise
    worker.say(f"INFO: Backup job finished {'with errors' if failed else 'successfully'}")
    if failed:
        raise failure("job errors")


def _check_storage(world: World, name: str) -> None:
    storage = world.state.storages.get(name)
    missing = f"storage '{name}' does not exist"
    unknown = f"could not get storage information for '{name}': "
    if storage is None:
        raise failure(f"could not activate storage '{name}': {missing}\n{unknown}{missing}")
    if "backup" not in storage.content:
        raise failure(f"{unknown}can't use storage '{name}' for backups - wrong content type")


async def _back_up(world: World, job: Job, vmid: int, worker: Worker) -> None:
    vm = world.state.vms.get(vmid)
    if vm is None or vm.node != job.node:
        raise failure(f"unable to find VM '{vmid}'")
    if job.protected:
        refuse_more_protected(world, job.storage, job.node, vmid, job.protected_limit)
    began = time.time()
    worker.say(f"INFO: Starting Backup of VM {vmid} (qemu)")
    worker.say(f"INFO: Backup started at {_clock()}")
    worker.say(f"INFO: status = {'running' if vm.run else 'stopped'}")
    async with world.vm_lock(vmid, say=worker.say):
        check_lock(vm)
        vm.config["lock"] = "backup"
    ran = vm.run is not None
    try:
        volume = await _write_archive(world, job, vm, worker)
        _describe(world, job, vm, volume, worker)
    finally:
        if ran and job.mode == "stop" and vm.run is None:
            worker.say("INFO: restarting vm")
            boot_vm(world, vm)
        if vm.lock == "backup":
            del vm.config["lock"]
    passed = int(time.time() - began)
    worker.say(f"INFO: Finished Backup of VM {vmid} (00:{passed // 60:02}:{passed % 60:02})")
    worker.say(f"INFO: Backup finished at {_clock()}")


async def _write_archive(world: World, job: Job, vm: Vm, worker: Worker) -> Volume:
    running = vm.run is not None
    mode = job.mode if running else "stop"
    live = running and mode != "stop"
    if not live:
        worker.say(f"INFO: backup mode: {mode}")
        worker.say("INFO: ionice priority: 7")
    worker.say(f"INFO: VM Name: {vm.config.get('name', f'VM{vm.vmid}')}")
    disks: dict[str, int] = {}
    files: dict[str, str | None] = {}
    used = 0
    for key in _backed_up(vm):
        volid = parse_drive(vm.config[key])["file"]
        volume = world.volumes.find(vm.node, volid)
        if volume is None:
            raise failure(f"volume '{volid}' does not exist")
        disks[key] = volume.size
        files[key] = await world.files_of(volume)
        used += max(0, world.volumes.content(volume) - EMPTY_DISK)
        worker.say(f"INFO: include disk '{key}' '{volid}' {format_size(volume.size)}")
    if live:
        worker.say(f"INFO: backup mode: {mode}")
        worker.say("INFO: ionice priority: 7")
    stopped = time.time()
    if running and not live:
        worker.say("INFO: stopping virtual guest")
        await world.sleep("shutdown")
        halted(world, vm)
    on_pbs = world.volumes.storage(job.storage).pbs
    moment = _free_moment(world, job, vm.vmid)
    volid = _volid(job, vm.vmid, moment, on_pbs=on_pbs)
    config = _archived(vm, worker)
    worker.say(f"INFO: creating {_named(world, volid)}")
    if not live:
        worker.say("INFO: starting kvm to execute backup task")
    await world.sleep("backup")
    worker.say(f"INFO: started backup task '{uuid.uuid4()}'")
    if live:
        worker.say("INFO: resuming VM again")
    elif running:
        boot_vm(world, vm)
        worker.say(f"INFO: resuming VM again after {int(time.time() - stopped)} seconds")
    total, taken = sum(disks.values()), max(EMPTY_ARCHIVE, int(used * ARCHIVE_SHARE))
    reused = _reused(world, job, vm) if on_pbs else False
    if on_pbs:
        for line in pbs.bitmap_lines(disks, clean=reused):
            worker.say(line)
    await asyncio.sleep(world.settings.copy_seconds("backup", total, job.bwlimit))
    if not world.volumes.fits(world.volumes.storage(job.storage), job.node, taken):
        raise pbs.full(job.storage) if on_pbs else failure(f"vma_queue_write: write error - {FULL}")
    for line in _progress(total, on_pbs=on_pbs, reused=reused):
        worker.say(line)
    if not running:
        worker.say("INFO: stopping kvm after backup task")
    if not on_pbs:
        worker.say(f"INFO: archive file size: {taken // 1024}KB")
    volume = world.volumes.create(
        job.node,
        volid,
        vmid=vm.vmid,
        size=total + len(text_of(config)) if on_pbs else taken,
        used=taken,
        kind="backup",
        format="pbs-vm" if on_pbs else SUFFIX[job.compress][1:],
    )
    volume.ctime = moment
    volume.backup = BackupContent(
        config, disks, moment, files, copy.deepcopy(world.state.firewalls.get(vm.vmid))
    )
    return volume


FULL = "No space left on device"


def _named(world: World, volid: str) -> str:
    """An archive as the log names it."""
    if world.volumes.storage(volid.partition(":")[0]).pbs:
        return f"Proxmox Backup Server archive '{pbs.snapshot_of(volid)}'"
    return f"vzdump archive '{world.volumes.path(volid)}'"


def _archived(vm: Vm, worker: Worker) -> dict[str, str]:
    """The configuration for the archive: without unused disks, snapshots and pending changes."""
    for name in [name for name in vm.config if name.startswith("unused")]:
        worker.say(f"INFO: skip unused drive '{vm.config[name]}' (not included into backup)")
    if vm.snapshots:
        worker.say("INFO: snapshots found (not included into backup)")
    elif vm.pending or vm.pending_delete:
        worker.say("INFO: pending configuration changes found (not included into backup)")
    return {
        name: value
        for name, value in vm.config.items()
        if name not in ("lock", "parent") and not name.startswith("unused")
    }


def _reused(world: World, job: Job, vm: Vm) -> bool:
    """Whether QEMU still knows what has changed since the last backup to a Proxmox Backup Server."""
    return vm.run is not None and any(
        volume.volid.startswith(f"{job.storage}:backup/") and volume.ctime >= int(vm.run.started)
        for volume in world.volumes.of_vm(vm.vmid)
    )


def _progress(total: int, *, on_pbs: bool, reused: bool) -> list[str]:
    size = 0 if reused else total
    gib = f"{size / 1024**3:.1f} GiB"
    lines = [f"INFO: 100% ({gib} of {gib}) in 1s, read: {gib}/s, write: 0 B/s"]
    if on_pbs and reused:
        lines.append(f"INFO: backup was done incrementally, reused {total / 1024**3:.2f} GiB (100%)")
    if size or not on_pbs:
        lines.append(f"INFO: transferred {size / 1024**3:.2f} GiB in 1 seconds ({gib}/s)")
    return lines


def _describe(world: World, job: Job, vm: Vm, volume: Volume, worker: Worker) -> None:
    """Add the notes, and protect the backup. Bad notes are a warning, and the backup has none."""
    if job.notes:
        worker.say("INFO: adding notes to backup")
        try:
            volume.notes = notes.from_template(job.notes, _values(world, job, vm)) or None
        except ValueError as error:
            worker.say(f"WARN: unable to add notes - {error}")
        else:
            if not world.volumes.storage(job.storage).pbs:
                worker.say("trying to acquire lock...")
                worker.say(" OK")
    if job.protected:
        worker.say("INFO: marking backup as protected")
        volume.protected = True


def _backed_up(vm: Vm) -> list[str]:
    return [key for key in drives.disks_of(vm.config) if parse_drive(vm.config[key]).get("backup") != "0"]


def _values(world: World, job: Job, vm: Vm) -> dict[str, str]:
    """The variables of notes."""
    return {
        "cluster": "sandbox" if len(world.state.nodes) > 1 else "standalone node",
        "guestname": vm.config.get("name", f"VM{vm.vmid}"),
        "node": job.node,
        "vmid": str(vm.vmid),
    }


def _volid(job: Job, vmid: int, moment: float, *, on_pbs: bool, suffix: str | None = None) -> str:
    """The archive's id, which has the second of its start."""
    if on_pbs:
        return f"{job.storage}:backup/vm/{vmid}/{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(moment))}"
    stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime(moment))
    return f"{job.storage}:backup/vzdump-qemu-{vmid}-{stamp}{suffix or SUFFIX[job.compress]}"


def _free_moment(world: World, job: Job, vmid: int) -> int:
    """The second of the backup's start; a later one if an archive has that already."""
    moment, on_pbs = int(time.time()), world.volumes.storage(job.storage).pbs
    while any(
        world.volumes.find(job.node, _volid(job, vmid, moment, on_pbs=on_pbs, suffix=suffix))
        for suffix in SUFFIX.values()
    ):
        moment += 1
    return moment


def _clock() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())


def find_archive(call: Call, volid: str) -> Volume:
    """The backup archive of an id, or PVE's error."""
    volume = look_up_archive(call, volid)
    if volume is None:
        raise pbs.missing(volid)
    return volume


def look_up_archive(call: Call, volid: str) -> Volume | None:
    """As `find_archive`; None for one that is not on a Proxmox Backup Server, which PVE asks later."""
    storage = call.world.volumes.storage(volid.partition(":")[0])
    kind, _ = (
        call.world.volumes.parse(volid) if storage.pbs else (volid.partition(":")[2].partition("/")[0], 0)
    )
    volume = call.world.volumes.find(call.node, volid)
    if kind != "backup":
        raise failure(f"unable to use volume {volid} - content type needs to be 'backup'")
    if volume is not None and volume.backup is not None:
        return volume
    if storage.pbs:
        return None
    raise failure(f"volume '{volid}' does not exist")


@routes("GET", "/nodes/{node}/vzdump/extractconfig")
async def extract_config(call: Call) -> str:
    """The configuration in an archive, with the map of its disks."""
    volid = str(call.params["volume"])
    volume = find_archive(call, volid)
    require_volume_access(call, volid)
    content = volume.backup
    assert content is not None
    return archived_config(content)


def archived_config(content: BackupContent) -> str:
    """The configuration file in an archive: PVE appends the map of the disks."""
    lines = [text_of(content.config)]
    for key in content.disks:
        file = parse_drive(content.config[key])["file"]
        storage, ending = file.partition(":")[0], file.rpartition(".")[2]
        lines.append(f"#qmdump#map:{key}:drive-{key}:{storage}:{ending}:\n")
    return "".join(lines)


@routes("GET", "/nodes/{node}/vzdump/defaults")
async def defaults(call: Call) -> dict[str, Any]:
    """What a job does unless told otherwise."""
    storage = call.get("storage")
    data: dict[str, Any] = {
        "all": 0,
        "bwlimit": 0,
        "compress": "0",
        "fleecing": {"enabled": 0},
        "ionice": 7,
        "lockwait": 180,
        "mailnotification": "always",
        "mode": "snapshot",
        "notification-mode": "auto",
        "notification-policy": "always",
        "performance": {"max-workers": 16, "pbs-entries-max": 1_048_576},
        "pigz": 0,
        "prune-backups": "keep-all=1",
        "quiet": 0,
        "remove": 1,
        "stdexcludes": 1,
        "stop": 0,
        "stopwait": 10,
        "zstd": 1,
    }
    if storage:
        found = call.world.volumes.storage(storage)
        data |= {"storage": storage} | ({} if found.pbs else {"dumpdir": f"{found.path}/dump"})
    return data
