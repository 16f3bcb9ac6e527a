"""Snapshots: taking, listing, changing, rolling back, deleting; and what a VM's disks can do."""

import asyncio
import time
from typing import Any

from jotunheim.sandbox import drives
from jotunheim.sandbox.boot import boot_vm, cut_off
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.hibernate import save_state
from jotunheim.sandbox.state import Snapshot, Vm, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import MACHINE, digest, snapshot_data, snapshot_of
from jotunheim.sandbox.world import World, check_lock

routes = Routes()

NOT_IN_SNAPSHOT = ("parent", "lock", "snaptime", "vmstate", "runningmachine", "runningcpu", "digest")
RESERVED = ("current", "pending")


@routes("GET", "/nodes/{node}/qemu/{vmid}/feature")
async def feature(call: Call) -> dict[str, Any]:
    """Whether the VM's disks can be linked-cloned, copied or snapshotted."""
    vm, wanted = call.vm(), call.params["feature"]
    name = call.get("snapname")
    config = snapshot_of(vm, name).config if name else vm.config
    volids = [parse_drive(config[key])["file"] for key in drives.disks_of(config)]
    possible = {
        "clone": all("/base-" in volid.replace(":", "/") and volid.count("/") == 1 for volid in volids),
        "copy": True,
        "snapshot": not vm.template and all(volid.endswith(".qcow2") for volid in volids),
    }
    return {"hasFeature": int(possible[wanted]), "nodes": list(call.world.state.nodes)}


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
    return data | ({"parent": snapshot.parent} if snapshot.parent else {})


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
    """Change a snapshot's description."""
    async with call.world.vm_lock(call.vmid):
        vm = call.vm()
        check_lock(vm)
        snapshot = snapshot_of(vm, str(call.params["snapname"]))
        if "description" in call.params:
            snapshot.description = call.params["description"].rstrip() or None


@routes("POST", "/nodes/{node}/qemu/{vmid}/snapshot")
async def take(call: Call) -> str:
    """Take a snapshot. A name that is taken fails in the task."""
    world, name = call.world, str(call.params["snapname"])
    if name in RESERVED:
        raise failure(f"unable to use snapshot name '{name}' (reserved name)")
    call.vm()

    async def work(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            check_lock(vm)
            if vm.template:
                raise failure("you can't take a snapshot if it's a template")
            if name in vm.snapshots:
                raise failure(f"snapshot name '{name}' already used")
            _check_formats(vm)
            memory = bool(call.get("vmstate")) and vm.run is not None
            snapshot = Snapshot(
                {key: value for key, value in vm.config.items() if key not in NOT_IN_SNAPSHOT},
                time.time(),
                str(call.get("description", "")).rstrip() or None,
                parent=vm.config.get("parent"),
            )
            vm.config["lock"] = "snapshot"
            try:
                if memory:
                    snapshot.vmstate = save_state(world, vm, name, None, worker)
                    snapshot.config["runningmachine"] = MACHINE
                await world.sleep("snapshot")
                for volume in _disks(world, vm):
                    snapshot.files[volume.volid] = await world.files_of(volume)
            finally:
                vm.config.pop("lock", None)
            for key in drives.disks_of(vm.config):
                worker.say(f"snapshotting 'drive-{key}' ({parse_drive(vm.config[key])['file']})")
            vm.snapshots[name] = snapshot
            vm.config["parent"] = name

    return call.task("qmsnapshot", call.vmid, work)


def _disks(world: World, vm: Vm) -> list[Volume]:
    found = [
        world.volumes.find(vm.node, parse_drive(vm.config[key])["file"]) for key in drives.disks_of(vm.config)
    ]
    return [volume for volume in found if volume is not None]


def _check_formats(vm: Vm) -> None:
    for key in drives.disks_of(vm.config):
        if not parse_drive(vm.config[key])["file"].endswith(".qcow2"):
            raise failure("snapshot feature is not available")


@routes("POST", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback")
async def rollback(call: Call) -> str:
    """Go back to a snapshot. The VM runs afterwards if the snapshot has its memory, or if asked to."""
    world, name = call.world, str(call.params["snapname"])
    call.vm()

    async def work(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            if vm.template:
                raise failure("you can't rollback if vm is a template")
            snapshot = snapshot_of(vm, name)
            check_lock(vm)
            cut_off(world, vm)
            vm.config["lock"] = "rollback"
            try:
                await world.sleep("rollback")
            except asyncio.CancelledError:
                vm.config.pop("lock", None)
                raise
            kept = {k: v for k, v in vm.config.items() if k.startswith("unused")}
            removed = [
                parse_drive(vm.config[key])["file"]
                for key in drives.disks_of(vm.config)
                if vm.config[key].split(",")[0] not in {v.split(",")[0] for v in snapshot.config.values()}
            ]
            vm.config = dict(snapshot.config) | {"parent": name}
            vm.config.pop("runningmachine", None)
            vm.pending.clear()
            vm.pending_delete.clear()
            for volume in _disks(world, vm):
                volume.files = snapshot.files.get(volume.volid)
            _keep_unused(vm, [*kept.values(), *removed])
            if snapshot.vmstate or call.get("start"):
                boot_vm(world, vm)

    return call.task("qmrollback", call.vmid, work)


def _keep_unused(vm: Vm, volids: list[str]) -> None:
    named = {value.split(",")[0] for value in vm.config.values()}
    free = (f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)
    for volid in volids:
        if volid not in named:
            vm.config[next(free)] = volid


@routes("DELETE", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}")
async def delete(call: Call) -> str:
    """Delete a snapshot. One that does not exist fails in the task."""
    world, name = call.world, str(call.params["snapname"])
    call.vm()

    async def work(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = call.vm()
            if vm.template:
                raise failure("you can't delete a snapshot if vm is a template")
            snapshot = snapshot_of(vm, name)
            if not call.get("force"):
                check_lock(vm)
            vm.config["lock"] = "snapshot-delete"
            try:
                await world.sleep("snapshot")
            finally:
                vm.config.pop("lock", None)
            del vm.snapshots[name]
            _close_gap(vm, name, snapshot.parent)
            volume = world.volumes.find(vm.node, snapshot.vmstate) if snapshot.vmstate else None
            if volume:
                world.volumes.remove(volume)

    return call.task("qmdelsnapshot", call.vmid, work)


def _close_gap(vm: Vm, name: str, parent: str | None) -> None:
    """Give the children of a deleted snapshot its parent."""
    for other in vm.snapshots.values():
        if other.parent == name:
            other.parent = parent
    if vm.config.get("parent") == name:
        del vm.config["parent"]
        if parent:
            vm.config["parent"] = parent
