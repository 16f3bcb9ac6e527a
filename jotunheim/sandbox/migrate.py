"""Moving a VM to another node of the cluster, with its local disks if asked to."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from jotunheim.sandbox import drives
from jotunheim.sandbox.boot import next_pid
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import is_cloudinit, parse_drive
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.pending import in_snapshot
from jotunheim.sandbox.state import Vm, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.world import World, check_lock

routes = Routes()


def local_volumes(world: World, vm: Vm) -> dict[str, Volume]:
    """The VM's volumes that only its node has: attached, unused and in snapshots."""
    found: dict[str, Volume] = {}
    for config in [vm.config, *(snapshot.config for snapshot in vm.snapshots.values())]:
        keys = drives.drives_of(config) + [key for key in config if key.startswith("unused")]
        volids = [parse_drive(config[key])["file"] for key in keys]
        found |= {volid: v for volid in volids if (v := world.volumes.find(vm.node, volid)) and v.node}
    states = [snapshot.vmstate or "" for snapshot in vm.snapshots.values()]
    found |= {volid: v for volid in states if (v := world.volumes.find(vm.node, volid)) and v.node}
    return found


@routes("GET", "/nodes/{node}/qemu/{vmid}/migrate")
async def preconditions(call: Call) -> dict[str, Any]:
    """What stands in the way of a migration."""
    vm = call.vm()
    check_lock(vm)
    local = local_volumes(call.world, vm).values()
    others = [name for name in call.world.state.nodes if name != vm.node]
    data: dict[str, Any] = {
        "has-dbus-vmstate": 1,
        "local_disks": [{"cdrom": int(_is_cdrom(v)), "size": v.size, "volid": v.volid} for v in local],
        "local_resources": [],
        "mapped-resource-info": {},
        "mapped-resources": [],
        "running": int(vm.run is not None),
    }
    if vm.run is None:
        data |= {"allowed_nodes": others, "not_allowed_nodes": {}}
    return data


@routes("POST", "/nodes/{node}/qemu/{vmid}/migrate")
async def migrate(call: Call) -> str:
    """Start a migration."""
    world, vmid, target = call.world, call.vmid, str(call.params["target"])
    if target == call.node:
        raise bad_params(target="target is local node.")
    if target not in world.state.nodes:
        raise failure(f"no such cluster node '{target}'")
    vm = call.vm()
    check_lock(vm)
    if vm.run and not call.get("online"):
        raise failure("can't migrate running VM without --online")

    async def work(worker: Worker) -> None:
        began = time.time()
        try:
            async with world.vm_lock(vmid, say=worker.say):
                await _move(call, target, worker)
        except ApiError as error:
            _say(worker, f"ERROR: migration aborted (duration {_duration(began)}): {error.message}")
            raise failure("migration aborted") from error
        _say(worker, f"migration finished successfully (duration {_duration(began)})")

    return call.task("qmigrate", vmid, work)


def _say(worker: Worker, line: str) -> None:
    worker.say(time.strftime("%Y-%m-%d %H:%M:%S ", time.gmtime()) + line)


def _duration(began: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(time.time() - began))


def _is_cdrom(volume: Volume) -> bool:
    return volume.content == "iso" or is_cloudinit({"file": volume.volid})


async def _move(call: Call, target: str, worker: Worker) -> None:
    """Check, copy what is local, and hand the VM over. Whatever fails is why the migration is aborted."""
    world, vm = call.world, call.vm()
    check_lock(vm)
    if vm.run and not call.get("online"):
        raise failure("can't migrate running VM without --online")
    if not world.state.nodes[target].online:
        raise failure("Can't connect to destination address using public key")
    _say(worker, f"starting migration of VM {vm.vmid} to node '{target}' ({world.state.nodes[target].ip})")
    vm.config["lock"] = "migrate"
    try:
        volumes = list(local_volumes(world, vm).values())
        _check_volumes(call, vm, volumes, worker)
        await world.sleep("migrate")
        size = sum(volume.size for volume in volumes if not _is_cdrom(volume))
        await asyncio.sleep(world.settings.copy_seconds("migrate", size, call.get("bwlimit")))
        if not world.state.nodes[target].online:
            raise failure("online migrate failure - aborting" if vm.run else "Connection closed by peer")
        for volume in volumes:
            storage = world.volumes.storage(volume.volid.partition(":")[0])
            if not world.volumes.fits(storage, target, volume.used):
                where = f"'{volume.volid}' to storage '{storage.name}'"
                raise failure(f"storage migration for {where} failed - No space left on device")
        for volume in volumes:
            _say(worker, f"copying local disk image '{volume.volid}'")
            world.volumes.move(volume, target)
        vm.node = target
        if vm.run:  # it goes on in another process, which counts anew
            vm.run = replace(vm.run, pid=next_pid(), started=time.time(), counted={})
    finally:
        vm.config.pop("lock", None)


def _check_volumes(call: Call, vm: Vm, volumes: list[Volume], worker: Worker) -> None:
    """Refuse what cannot be copied to another node. Why stands in the log, disk by disk."""
    world, problem = call.world, "Problem found while scanning volumes - "
    attached = [parse_drive(vm.config[key])["file"] for key in drives.disks_of(vm.config)]
    why: dict[str, str] = {}
    for volume in volumes:
        if volume.content == "iso":
            why[volume.volid] = "local cdrom image"
        elif volume.vmid != vm.vmid:
            why[volume.volid] = f"owned by other VM (owner = VM {volume.vmid})"
        elif vm.run and in_snapshot(vm, volume.volid) and not _is_cdrom(volume):
            why[volume.volid] = "online storage migration not possible if non-replicated snapshot exists"
        elif world.volumes.children(volume):
            why[volume.volid] = "referenced by linked clone(s)"
        elif vm.run and volume.volid in attached and not call.get("with-local-disks"):
            why[volume.volid] = "can't live migrate attached local disks without with-local-disks option"
    for volid in sorted(why):
        _say(worker, f"can't migrate local disk '{volid}': {why[volid]}")
    if why:
        raise failure(f"{problem}can't migrate VM - check log")
    for volume in volumes:
        if volume.parent:
            base = volume.parent.rpartition("/")[2]
            raise failure(f"{problem}can't migrate '{volume.volid}' as it's a clone of '{base}'")
