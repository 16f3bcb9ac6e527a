"""Cloning a VM or template, linked or full.

The target's configuration is created locked, with little in it, and written when all disks are there.
The source's lock file is held shared, the target's exclusively; so a second clone onto the same id waits
and then finds the configuration file.
"""

import asyncio
import copy
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from jotunheim.sandbox import drives
from jotunheim.sandbox.bridges import require_bridges
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.configvalues import new_mac, parse_net, print_net
from jotunheim.sandbox.drives import format_size, formatting, is_cdrom, is_cloudinit, parse_drive, print_drive
from jotunheim.sandbox.errors import ApiError, failure, forbidden
from jotunheim.sandbox.state import Vm, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import snapshot_of
from jotunheim.sandbox.volumes import LINKED_BYTES
from jotunheim.sandbox.world import World, check_lock

routes = Routes()

DROPPED = ("template", "lock", "parent", "snaptime", "vmstate", "runningmachine", "runningcpu", "digest")


@dataclass
class Plan:
    """What a clone request asks for."""

    source: int
    target: int
    node: str
    target_node: str
    full: bool
    name: str | None
    description: str | None
    pool: str | None
    storage: str | None
    format: str | None
    snapname: str | None
    bwlimit: int | None
    made: list[Volume] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)
    """With guests: the files in the snapshot that is cloned, by volume."""


@routes("POST", "/nodes/{node}/qemu/{vmid}/clone")
async def clone(call: Call) -> str:
    """Start a clone. Most mistakes are refused at once; a lost race for the new id fails in the task."""
    world = call.world
    plan = _plan(call)
    _check(call, plan)

    async def work(worker: Worker) -> None:
        shared = world.state.vms[plan.source].run is None
        async with (
            world.vm_lock(plan.source, shared=shared, timeout=1, say=worker.say),
            world.vm_lock(plan.target, timeout=1, say=worker.say),
        ):
            _check(call, plan)
            await _run(world, plan, worker)

    return call.task("qmclone", plan.source, work)


def _plan(call: Call) -> Plan:
    source = call.world.state.vms.get(call.vmid)
    if source is None or source.node != call.node:
        raise failure(f"unable to find configuration file for VM {call.vmid} on node '{call.node}'")
    return Plan(
        source=call.vmid,
        target=int(call.params["newid"]),
        node=call.node,
        target_node=call.get("target", call.node),
        full=bool(call.get("full", not source.template)),
        name=call.get("name"),
        description=call.get("description"),
        pool=call.get("pool"),
        storage=call.get("storage"),
        format=call.get("format"),
        snapname=call.get("snapname"),
        bwlimit=call.get("bwlimit"),
    )


def _check(call: Call, plan: Plan) -> None:
    """The checks that PVE makes both before the task and in it, in PVE's order."""
    world, away = call.world, plan.target_node != plan.node
    if plan.pool is not None and plan.pool not in world.state.pools:
        raise forbidden(f"pool '{plan.pool}' does not exist")
    if plan.target_node not in world.state.nodes:
        raise failure(f"no such cluster node '{plan.target_node}'")
    if plan.storage is not None and not world.volumes.image_storage(plan.storage).shared and away:
        raise failure(f"can't clone to non-shared storage '{plan.storage}'")
    source = world.vm(plan.node, plan.source)
    check_lock(source)
    config = snapshot_of(source, plan.snapname).config if plan.snapname else source.config
    for name, value in (("storage", plan.storage), ("format", plan.format)):
        if value is not None and not plan.full:
            raise failure(f"parameter '{name}' not allowed for linked clones")
    shared = _check_storages(call, plan, config)
    require_bridges(call, config)
    if away and not shared:
        raise failure(f"can't clone VM to node '{plan.target_node}' (VM uses local storage)")
    if plan.target in world.state.vms:
        raise failure(f"unable to create VM {plan.target}: config file already exists")
    for key in _clone_order(config):
        drive = parse_drive(config[key])
        kind, wanted = ("Full", "copy") if plan.full or is_cloudinit(drive) else ("Linked", "clone")
        if not drives.has_feature(wanted, drive["file"], snapshot=bool(plan.snapname)):
            raise failure(f"{kind} clone feature is not supported for drive '{key}'")


def _check_storages(call: Call, plan: Plan, config: Mapping[str, str]) -> bool:
    """Ask for the privilege on each disk's storage. Returns whether all drives are on shared ones."""
    shared = True
    for key in drives.drives_of(config):
        drive = parse_drive(config[key])
        if drive["file"] in ("none", "cdrom"):
            continue
        storage = drive["file"].partition(":")[0]
        shared = shared and call.world.volumes.storage(storage).shared
        if not is_cdrom(drive):
            call.require(f"/storage/{plan.storage or storage}", "Datastore.AllocateSpace")
    return shared


async def _run(world: World, plan: Plan, worker: Worker) -> None:
    source = world.state.vms[plan.source]
    original = dict(source.config)
    if plan.snapname:
        snapshot = snapshot_of(source, plan.snapname)
        original = snapshot.config | ({"description": snapshot.description} if snapshot.description else {})
        plan.files = snapshot.files
    target = Vm(plan.target, plan.node, {"lock": "clone", "description": " qmclone temporary file"})
    world.state.vms[plan.target] = target
    if plan.source in world.state.firewalls:
        world.state.firewalls[plan.target] = copy.deepcopy(world.state.firewalls[plan.source])
    try:
        config = _new_config(source, original, plan)
        for key in _clone_order(config):
            config[key] = await _clone_drive(world, plan, key, config[key], worker)
        await world.sleep("clone")
    except (ApiError, asyncio.CancelledError) as error:
        _undo(world, plan)
        if isinstance(error, ApiError):
            raise failure(f"clone failed: {error.message}") from error
        worker.interrupted = f"clone failed: {worker.interrupted}"
        raise
    target.config, target.node = config, plan.target_node
    if plan.pool:
        world.state.pools[plan.pool].vms.append(plan.target)


def _undo(world: World, plan: Plan) -> None:
    for volume in plan.made:
        world.volumes.remove(volume)
    del world.state.vms[plan.target]
    world.state.firewalls.pop(plan.target, None)


def _clone_order(config: Mapping[str, str]) -> list[str]:
    return [key for key in drives.drives_of(config) if _copied(config[key])]


def _copied(text: str) -> bool:
    drive = parse_drive(text)
    return is_cloudinit(drive) or not is_cdrom(drive)


def _new_config(source: Vm, config: dict[str, str], plan: Plan) -> dict[str, str]:
    """The clone's configuration before its drives: own name, MACs and UUIDs."""
    for name in [n for n in config if n in DROPPED or n.startswith("unused")]:
        del config[name]
    for key in [k for k in config if k.startswith("net") and k[3:].isdigit()]:
        config[key] = print_net(parse_net(config[key]) | {"macaddr": new_mac()})
    config["name"] = plan.name or f"Copy-of-VM-{config.get('name', source.vmid)}"
    if plan.description:
        config["description"] = plan.description.rstrip()
    smbios = parse_drive(config.get("smbios1", ""))
    smbios.pop("file", None)
    smbios["uuid"] = str(uuid.uuid4())
    config["smbios1"] = ",".join(f"{key}={value}" for key, value in smbios.items())
    if "vmgenid" in config:
        config["vmgenid"] = str(uuid.uuid4())
    return config


async def _clone_drive(world: World, plan: Plan, key: str, text: str, worker: Worker) -> str:
    drive = parse_drive(text)
    volid = drive["file"]
    volume = world.volumes.find(plan.node, volid)
    if volume is None:
        raise failure(f"volume '{volid}' does not exist")
    if is_cloudinit(drive):
        return _clone_cloudinit(world, plan, key, drive, volume, worker)
    if plan.full:
        return await _full(world, plan, key, drive, volume, worker)
    return _linked(world, plan, key, drive, volume, worker)


def _clone_cloudinit(
    world: World, plan: Plan, key: str, drive: dict[str, str], source: Volume, worker: Worker
) -> str:
    worker.say(f"create full clone of drive {key} ({source.volid})")
    storage = plan.storage or source.volid.partition(":")[0]
    volid = f"{storage}:{plan.target}/vm-{plan.target}-cloudinit.{source.format}"
    worker.say(formatting(world.volumes.path(volid), source.size, format=source.format))
    plan.made.append(
        world.volumes.create(
            plan.target_node,
            volid,
            vmid=plan.target,
            size=source.size,
            used=source.used,
            format=source.format,
        )
    )
    return print_drive(drive | {"file": volid, "size": format_size(source.size)})


def _linked(world: World, plan: Plan, key: str, drive: dict[str, str], source: Volume, worker: Worker) -> str:
    storage, _, base = source.volid.partition(":")
    file = drives.new_volid(world.volumes, plan.target_node, storage, plan.target).rpartition("/")[2]
    own = "/".join(base.split("/")[-2:])  # a base that is itself a linked clone goes by its own name alone
    backing = f"../{own}"
    worker.say(f"create linked clone of drive {key} ({source.volid})")
    worker.say(f"clone {base}: images, {file}, {plan.target} to {file} (base={backing})")
    volid = f"{storage}:{own}/{plan.target}/{file}"
    worker.say(formatting(world.volumes.path(volid), source.size, backing=backing))
    plan.made.append(
        world.volumes.create(
            plan.target_node,
            volid,
            vmid=plan.target,
            size=source.size,
            used=LINKED_BYTES,
            parent=source.volid,
        )
    )
    return print_drive(drive | {"file": volid, "size": format_size(source.size)})


async def _full(
    world: World, plan: Plan, key: str, drive: dict[str, str], source: Volume, worker: Worker
) -> str:
    storage = plan.storage or source.volid.partition(":")[0]
    format_ = plan.format or source.format
    volid = drives.new_volid(world.volumes, plan.target_node, storage, plan.target, format_)
    old, new = world.volumes.path(source.volid), world.volumes.path(volid)
    worker.say(f"create full clone of drive {key} ({source.volid})")
    worker.say(formatting(new, source.size, format=format_))
    limit = f" -r {plan.bwlimit}K" if plan.bwlimit else ""
    command = f"/usr/bin/qemu-img convert -p -n{limit} -f {source.format} -O {format_} {old} zeroinit:{new}"
    failed = f"copy failed: command '{command}' failed"
    used = world.volumes.content(source)
    if not world.volumes.fits(world.volumes.storage(storage), plan.target_node, used):
        worker.say("qemu-img: error while writing at byte 0: No space left on device")
        raise failure(f"{failed}: exit code 1")
    volume = world.volumes.create(
        plan.target_node, volid, vmid=plan.target, size=source.size, used=used, format=format_
    )
    plan.made.append(volume)
    volume.files = plan.files[source.volid] if source.volid in plan.files else await world.files_of(source)
    before, worker.interrupted = worker.interrupted, f"{failed}: interrupted by signal"
    await _copy(world, plan, source.size, worker)
    worker.interrupted = before
    return print_drive(drive | {"file": volid, "size": format_size(source.size)})


async def _copy(world: World, plan: Plan, size: int, worker: Worker) -> None:
    """Take the time of a copy and log its progress."""
    steps = 4
    seconds = world.settings.copy_seconds("clone", size, plan.bwlimit)
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds / steps)
        done = size * step // steps
        total = f"{size / 1024**3:.1f} GiB ({100 * step / steps:.2f}%)"
        worker.say(f"transferred {done / 1024**2:.1f} MiB of {total}")
