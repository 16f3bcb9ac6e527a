"""Backups with vzdump: making archives, what they hold, defaults."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import drives
from jotunheim.sandbox.boot import EMPTY_DISK
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import format_size, parse_drive
from jotunheim.sandbox.errors import ApiError, bad_params, failure
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
    began = time.time()
    worker.say(f"INFO: Starting Backup of VM {vmid} (qemu)")
    worker.say(f"INFO: Backup started at {_clock()}")
    worker.say(f"INFO: status = {'running' if vm.run else 'stopped'}")
    async with world.vm_lock(vmid, say=worker.say):
        check_lock(vm)
        vm.config["lock"] = "backup"
    try:
        await _write_archive(world, job, vm, worker)
    finally:
        if vm.lock == "backup":
            del vm.config["lock"]
    passed = int(time.time() - began)
    worker.say(f"INFO: Finished Backup of VM {vmid} (00:{passed // 60:02}:{passed % 60:02})")
    worker.say(f"INFO: Backup finished at {_clock()}")


async def _write_archive(world: World, job: Job, vm: Vm, worker: Worker) -> None:
    running, mode = vm.run is not None, job.mode
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
    volid = _free_volid(world, job, vm.vmid)
    path, size = world.volumes.path(volid), max(EMPTY_ARCHIVE, int(used * ARCHIVE_SHARE))
    worker.say(f"INFO: creating vzdump archive '{path}'")
    config = {name: value for name, value in vm.config.items() if name not in ("lock", "parent")}
    if not running:
        worker.say("INFO: starting kvm to execute backup task")
    await world.sleep("backup")
    worker.say(f"INFO: started backup task '{uuid.uuid4()}'")
    if running:
        worker.say("INFO: resuming VM again")
    total = sum(disks.values())
    await asyncio.sleep(world.settings.copy_seconds("backup", total, job.bwlimit))
    if not world.volumes.fits(world.volumes.storage(job.storage), job.node, size):
        raise failure("vma_queue_write: write error - No space left on device")
    gib = f"{total / 1024**3:.1f} GiB"
    worker.say(f"INFO: 100% ({gib} of {gib}) in 1s, read: {gib}/s, write: 0 B/s")
    worker.say(f"INFO: transferred {total / 1024**3:.2f} GiB in 1 seconds ({gib}/s)")
    if not running:
        worker.say("INFO: stopping kvm after backup task")
    worker.say(f"INFO: archive file size: {size // 1024}KB")
    volume = world.volumes.create(
        job.node, volid, vmid=vm.vmid, size=size, used=size, kind="backup", format=SUFFIX[job.compress][1:]
    )
    volume.backup = BackupContent(config, disks, time.time(), files)
    volume.protected = job.protected
    if job.notes:
        worker.say("INFO: adding notes to backup")
        worker.say("trying to acquire lock...")
        worker.say(" OK")
        volume.notes = _notes(job, vm)


def _backed_up(vm: Vm) -> list[str]:
    return [key for key in drives.disks_of(vm.config) if parse_drive(vm.config[key]).get("backup") != "0"]


def _notes(job: Job, vm: Vm) -> str:
    text = job.notes or ""
    values = {
        "cluster": "standalone node",
        "guestname": vm.config.get("name", f"VM{vm.vmid}"),
        "node": job.node,
    }
    for name, value in {**values, "vmid": str(vm.vmid)}.items():
        text = text.replace("{{" + name + "}}", value)
    return text.replace("\\n", "\n").replace("\\\\", "\\")


def _free_volid(world: World, job: Job, vmid: int) -> str:
    """The archive's name, which has the second of its start; a later one if that is taken."""
    moment = time.time()
    while True:
        stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime(moment))
        names = [f"{job.storage}:backup/vzdump-qemu-{vmid}-{stamp}{suffix}" for suffix in SUFFIX.values()]
        if not any(world.volumes.find(job.node, name) for name in names):
            return f"{job.storage}:backup/vzdump-qemu-{vmid}-{stamp}{SUFFIX[job.compress]}"
        moment += 1


def _clock() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())


def find_archive(call: Call, volid: str) -> Volume:
    """The backup archive of an id, or PVE's error."""
    kind = volid.partition(":")[2].partition("/")[0]
    call.world.volumes.storage(volid.partition(":")[0])
    volume = call.world.volumes.find(call.node, volid)
    if kind != "backup":
        raise failure(f"unable to use volume {volid} - content type needs to be 'backup'")
    if volume is None or volume.backup is None:
        raise failure(f"volume '{volid}' does not exist")
    return volume


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
        data |= {"storage": storage, "dumpdir": f"{call.world.volumes.storage(storage).path}/dump"}
    return data
