"""Moving a VM to another node of the cluster, with its local disks if asked to."""

import asyncio
from typing import Any

from jotunheim.sandbox import drives
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import is_cloudinit, parse_drive
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.state import Vm, Volume
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.world import World, check_lock, offline

routes = Routes()


def local_volumes(world: World, vm: Vm) -> list[Volume]:
    """The VM's volumes that only its node has."""
    found = [
        world.volumes.find(vm.node, parse_drive(vm.config[key])["file"])
        for key in drives.drives_of(vm.config)
    ]
    return [volume for volume in found if volume is not None and volume.node]


@routes("GET", "/nodes/{node}/qemu/{vmid}/migrate")
async def preconditions(call: Call) -> dict[str, Any]:
    """What stands in the way of a migration."""
    vm = call.vm()
    local = local_volumes(call.world, vm)
    others = [name for name in call.world.state.nodes if name != vm.node]
    data: dict[str, Any] = {
        "has-dbus-vmstate": 1,
        "local_disks": [
            {"cdrom": int(is_cloudinit({"file": v.volid})), "size": v.size, "volid": v.volid} for v in local
        ],
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
    if not world.state.nodes[target].online:
        raise offline()
    vm = call.vm()
    check_lock(vm)
    if vm.run and not call.get("online"):
        raise bad_params(online="VM is running")

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = call.vm()
            check_lock(vm)
            worker.say(f"starting migration of VM {vmid} to node '{target}' ({world.state.nodes[target].ip})")
            try:
                await _move(call, vm, target, worker)
            finally:
                vm.config.pop("lock", None)
            worker.say("migration finished successfully (duration 00:00:01)")

    return call.task("qmigrate", vmid, work)


async def _move(call: Call, vm: Vm, target: str, worker: Worker) -> None:
    world = call.world
    volumes = local_volumes(world, vm)
    linked = next((volume for volume in volumes if volume.parent), None)
    disks = [volume for volume in volumes if not is_cloudinit({"file": volume.volid})]
    problem = "migration aborted (duration 00:00:00): Problem found while scanning volumes - "
    if linked:
        why = f"can't migrate '{linked.volid}' as it's a clone of '{linked.parent}'"
        raise failure(f"{problem}{why}")
    if disks and vm.run and not call.get("with-local-disks"):
        why = "can't live migrate attached local disks without with-local-disks option"
        raise failure(f"{problem}{why}")
    if vm.snapshots and disks and vm.run:
        raise failure(f"{problem}online storage migration not possible if snapshot exists")
    vm.config["lock"] = "migrate"
    size = sum(volume.size for volume in disks)
    await world.sleep("migrate")
    await asyncio.sleep(world.settings.copy_seconds("migrate", size, call.get("bwlimit")))
    if not world.state.nodes[target].online:
        raise failure("migration aborted (duration 00:00:01): target node went offline")
    for volume in volumes:
        storage = world.volumes.storage(volume.volid.partition(":")[0])
        if not world.volumes.fits(storage, target, volume.used):
            where = f"'{volume.volid}' to storage '{storage.name}'"
            raise failure(f"storage migration for {where} failed - No space left on device")
    for volume in volumes:
        worker.say(f"copying local disk image '{volume.volid}'")
        world.volumes.move(volume, target)
    vm.node = target
