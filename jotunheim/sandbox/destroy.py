"""Deleting a VM with all that belongs to it."""

from jotunheim.sandbox import drives
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.world import World, check_lock

routes = Routes()


@routes("DELETE", "/nodes/{node}/qemu/{vmid}")
async def destroy(call: Call) -> str:
    """Delete a VM. A running or protected one is refused at once, a locked one in the task."""
    world, node, vmid = call.world, call.node, call.vmid
    purge = bool(call.get("purge"))
    unreferenced = bool(call.get("destroy-unreferenced-disks", 0))
    _check(call.vm())

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = world.vm(node, vmid)
            _check(vm)
            if not call.get("skiplock"):
                check_lock(vm)
            _check_base(world, vm)
            vm.config["lock"] = "destroyed"
            await world.sleep("destroy")
            if purge:
                worker.say(f"purging VM {vmid} from related configurations..")
            remove_vm(world, vm, unreferenced=unreferenced)

    return call.task("qmdestroy", vmid, work)


def _check(vm: Vm) -> None:
    if vm.config.get("protection") == "1":
        raise failure(f"can't remove VM {vm.vmid} - protection mode enabled")
    if vm.run:
        raise failure(f"VM {vm.vmid} is running - destroy failed")


def _check_base(world: World, vm: Vm) -> None:
    for volid in volumes_named(vm):
        volume = world.volumes.find(vm.node, volid)
        if volume and world.volumes.children(volume):
            raise failure(f"base volume '{volid}' is still in use by linked cloned")


def volumes_named(vm: Vm) -> list[str]:
    """The volumes that the configuration and its snapshots name and that belong to the VM."""
    found: dict[str, None] = {}
    for config in [vm.config, *(snapshot.config for snapshot in vm.snapshots.values())]:
        keys = drives.drives_of(config) + [k for k in config if k.startswith("unused") or k == "vmstate"]
        for key in keys:
            found[parse_drive(config[key])["file"]] = None
    found |= dict.fromkeys(s.vmstate for s in vm.snapshots.values() if s.vmstate)
    return [volid for volid in found if f"-{vm.vmid}-" in volid.rpartition("/")[2]]


def remove_vm(world: World, vm: Vm, *, unreferenced: bool = True) -> None:
    """Take a VM out of the cluster: its volumes, firewall file, pool membership and permissions."""
    named = volumes_named(vm)
    for volume in world.volumes.of_vm(vm.vmid):
        if volume.content == "images" and (volume.volid in named or unreferenced):
            world.volumes.remove(volume)
    world.state.vms.pop(vm.vmid, None)
    world.state.firewalls.pop(vm.vmid, None)
    for pool in world.state.pools.values():
        if vm.vmid in pool.vms:
            pool.vms.remove(vm.vmid)
    world.state.acl = [entry for entry in world.state.acl if entry.path != f"/vms/{vm.vmid}"]
