"""Snapshots: taking, listing, changing, rolling back, deleting; and what a VM's disks can do.

The slow parts run without the VM's lock file: the configuration's `lock` keeps others out meanwhile, who
are refused at once instead of waiting.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

from jotunheim.sandbox import drives
from jotunheim.sandbox.boot import boot_vm, cut_off
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.errors import ApiError, failure
from jotunheim.sandbox.hibernate import running_cpu, save_state
from jotunheim.sandbox.pending import add_unused
from jotunheim.sandbox.power import start_vm
from jotunheim.sandbox.state import Snapshot, Vm, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import MACHINE, digest, snapshot_data, snapshot_of
from jotunheim.sandbox.world import World, check_lock

routes = Routes()

NOT_IN_SNAPSHOT = ("parent", "lock", "snaptime", "vmstate", "digest", "description")
"""Besides unused disks, what a snapshot does not hold; its own description takes the place of the VM's."""


@routes("GET", "/nodes/{node}/qemu/{vmid}/feature")
async def feature(call: Call) -> dict[str, Any]:
    """Whether the VM's disks can be linked-cloned, copied or snapshotted, and which nodes have them."""
    world, vm, wanted = call.world, call.vm(), str(call.params["feature"])
    name = call.get("snapname")
    config = snapshot_of(vm, name).config if name else vm.config
    volids = [parse_drive(config[key])["file"] for key in drives.disks_of(config)]
    possible = all(drives.has_feature(wanted, volid, snapshot=bool(name)) for volid in volids)
    found = [world.volumes.find(vm.node, volid) for volid in volids]
    local = any(volume is not None and volume.node for volume in found)
    return {"hasFeature": int(possible), "nodes": [vm.node] if local else list(world.state.nodes)}


@routes("GET", "/nodes/{node}/qemu/{vmid}/snapshot")
async def list_snapshots(call: Call) -> list[dict[str, Any]]:
    """All snapshots, and the current state as the last."""
    vm = call.vm()
    listed = [_described(name, snapshot) for name, snapshot in vm.snapshots.items()]
    current: dict[str, Any] = {
        "description": "You are here!",
        "digest": digest(vm),
        "name": "current",
        "running": int(vm.run is not None),
    }
    if "parent" in vm.config:
        current["parent"] = vm.config["parent"]
    return [*listed, current]


def _described(name: str, snapshot: Snapshot) -> dict[str, Any]:
    data: dict[str, Any] = {
        "description": snapshot.description or "",
        "name": name,
        "snaptime": int(snapshot.created),
        "vmstate": int(snapshot.vmstate is not None),
    }
    data |= {"parent": snapshot.parent} if snapshot.parent else {}
    return data | ({"snapstate": snapshot.snapstate} if snapshot.snapstate else {})


@routes("GET", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}")
async def snapshot_index(_call: Call) -> list[dict[str, str]]:
    """The folders below a snapshot."""
    return [{"cmd": "rollback"}, {"cmd": "config"}]


@routes("GET", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config")
async def snapshot_config(call: Call) -> dict[str, Any]:
    """The configuration in a snapshot."""
    return snapshot_data(snapshot_of(call.vm(), str(call.params["snapname"])))


@routes("PUT", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config")
async def change_snapshot(call: Call) -> None:
    """Change a snapshot's description. Without one PVE looks at nothing."""
    if "description" not in call.params:
        return
    async with call.world.vm_lock(call.vmid):
        vm = call.vm()
        check_lock(vm)
        snapshot = snapshot_of(vm, str(call.params["snapname"]))
        snapshot.description = call.params["description"].rstrip() or None


@routes("POST", "/nodes/{node}/qemu/{vmid}/snapshot")
async def take(call: Call) -> str:
    """Take a snapshot. A name that is taken fails in the task."""
    world, name = call.world, str(call.params["snapname"])
    if name == "current" or name.lower() == "pending":
        raise failure(f"unable to use snapshot name '{name.lower()}' (reserved name)")
    call.vm()

    async def work(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            snapshot = _prepare(call, name, worker)
        vm = call.vm()
        try:
            await world.sleep("snapshot")
            for volume in _disks(world, vm, snapshot.config):
                snapshot.files[volume.volid] = await world.files_of(volume)
            _say_memory_saved(world, vm, worker, snapshot)
            for key in drives.disks_of(snapshot.config):
                worker.say(f"snapshotting 'drive-{key}' ({parse_drive(snapshot.config[key])['file']})")
            async with world.vm_lock(call.vmid, say=worker.say):
                if vm.lock != "snapshot":
                    raise failure("missing snapshot lock")
                snapshot.snapstate = None
                del vm.config["lock"]
                vm.config["parent"] = name
        except (ApiError, asyncio.CancelledError):
            worker.say("snapshot create failed: starting cleanup")
            _drop(world, vm, name)
            raise

    return call.task("qmsnapshot", call.vmid, work)


def _prepare(call: Call, name: str, worker: Worker) -> Snapshot:
    """Note the snapshot in the locked configuration. From then on its lock keeps others out, not the file."""
    world, vm = call.world, call.vm()
    if vm.template:
        raise failure("you can't take a snapshot if it's a template")
    check_lock(vm)
    if name in vm.snapshots:
        raise failure(f"snapshot name '{name}' already used")
    for key in drives.disks_of(vm.config):
        if not drives.has_feature("snapshot", parse_drive(vm.config[key])["file"]):
            raise failure("snapshot feature is not available")
    for other in vm.snapshots.values():
        if other.parent == name:
            other.parent = None
    snapshot = Snapshot(
        {k: v for k, v in vm.config.items() if k not in NOT_IN_SNAPSHOT and not k.startswith("unused")},
        time.time(),
        str(call.get("description", "")).rstrip() or None,
        parent=vm.config.get("parent"),
        snapstate="prepare",
    )
    if call.get("vmstate") and vm.run:
        snapshot.vmstate = save_state(world, vm, name, None, worker)
        snapshot.config |= {"runningmachine": MACHINE, "runningcpu": running_cpu(vm)}
    vm.snapshots[name] = snapshot
    vm.config["lock"] = "snapshot"
    return snapshot


def _say_memory_saved(world: World, vm: Vm, worker: Worker, snapshot: Snapshot) -> None:
    if not snapshot.vmstate:
        return
    volume = world.volumes.find(vm.node, snapshot.vmstate)
    size = volume.used / 1024**2 if volume else 0
    worker.say(f"saving VM state and RAM using storage '{snapshot.vmstate.partition(':')[0]}'")
    worker.say(f"completed saving the VM state in 1s, saved {size:.2f} MiB")


def _disks(world: World, vm: Vm, config: Mapping[str, str]) -> list[Volume]:
    """The volumes of a configuration's disks."""
    found = [world.volumes.find(vm.node, parse_drive(config[key])["file"]) for key in drives.disks_of(config)]
    return [volume for volume in found if volume is not None]


def _drop(world: World, vm: Vm, name: str) -> None:
    """Forget a snapshot: its memory, its lock, its place among the others. Disks that only it held stay."""
    snapshot = vm.snapshots.pop(name)
    vm.config.pop("lock", None)
    volume = world.volumes.find(vm.node, snapshot.vmstate) if snapshot.vmstate else None
    if volume:
        world.volumes.remove(volume)
    for other in vm.snapshots.values():
        if other.parent == name:
            other.parent = snapshot.parent
    if vm.config.get("parent") == name:
        del vm.config["parent"]
        vm.config |= {"parent": snapshot.parent} if snapshot.parent else {}
    if snapshot.snapstate != "prepare":
        keep_unused(vm, [volume.volid for volume in _disks(world, vm, snapshot.config)])


def keep_unused(vm: Vm, volids: list[str]) -> None:
    """Keep those of the volumes that no drive uses as `unusedN`, and no others."""
    used = {parse_drive(vm.config[key])["file"] for key in drives.drives_of(vm.config)}
    for volid in volids:
        if volid not in used:
            add_unused(vm, volid)
    for key in [k for k, v in vm.config.items() if k.startswith("unused") and v in used]:
        del vm.config[key]


@routes("POST", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback")
async def rollback(call: Call) -> str:
    """Go back to a snapshot.

    The VM runs afterwards if the snapshot has its memory. `start` starts it in a task of its own.
    """
    world, name = call.world, str(call.params["snapname"])

    async def start(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            await start_vm(world, call.vm(), worker)

    async def work(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            _check_rollback(vm, name)
            check_lock(vm)
            cut_off(world, vm)
            vm.config["lock"] = "rollback"
        await world.sleep("rollback")
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            snapshot = _check_rollback(vm, name)
            if vm.lock != "rollback":
                raise failure("got wrong lock")
            _apply(world, vm, name, snapshot)
            if snapshot.vmstate:
                worker.say(f"activating and using '{snapshot.vmstate}' as vmstate")
                boot_vm(world, vm)
                if vm.run:
                    vm.run.agent_at = vm.run.started
        if call.get("start") and not vm.run:
            call.task("qmstart", call.vmid, start)

    return call.task("qmrollback", call.vmid, work)


def _check_rollback(vm: Vm, name: str) -> Snapshot:
    if vm.template:
        raise failure("you can't rollback if vm is a template")
    snapshot = snapshot_of(vm, name)
    if snapshot.snapstate:
        raise failure(f"unable to rollback to incomplete snapshot (snapstate = {snapshot.snapstate})")
    return snapshot


def _apply(world: World, vm: Vm, name: str, snapshot: Snapshot) -> None:
    """Make the snapshot's configuration the VM's. Its description and its unused disks stay."""
    disks = [parse_drive(vm.config[key])["file"] for key in drives.disks_of(vm.config)]
    kept = {k: v for k, v in vm.config.items() if k.startswith("unused") or k == "description"}
    vm.config = kept | snapshot.config | {"parent": name}
    for key in ("runningmachine", "runningcpu"):
        vm.config.pop(key, None)
    if "vmgenid" in vm.config:
        vm.config["vmgenid"] = str(uuid.uuid4())
    vm.pending.clear()
    vm.pending_delete.clear()
    keep_unused(vm, disks)
    for volume in _disks(world, vm, snapshot.config):
        volume.files = snapshot.files.get(volume.volid)


@routes("DELETE", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}")
async def delete(call: Call) -> str:
    """Delete a snapshot. One that does not exist fails in the task."""
    world, name = call.world, str(call.params["snapname"])

    async def work(worker: Worker) -> None:
        snapshot_of(call.vm(), name)
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            check_lock(vm)
            snapshot = snapshot_of(vm, name)
            if vm.template:
                raise failure("you can't delete a snapshot if vm is a template")
            vm.config["lock"], snapshot.snapstate = "snapshot-delete", "delete"
        await world.sleep("snapshot")
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            if vm.lock != "snapshot-delete":
                raise failure("encountered invalid lock, expected 'snapshot-delete'")
            _drop(world, vm, name)

    return call.task("qmdelsnapshot", call.vmid, work)
