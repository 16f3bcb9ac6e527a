"""Saving a VM's memory to a volume, and waking it from there."""

import time

from jotunheim.sandbox import drives
from jotunheim.sandbox.boot import boot_vm, check_bridges, check_volumes, cut_off
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import MACHINE, memory_mib
from jotunheim.sandbox.world import World

STATE_OVERHEAD = 500 * 1024**2
"""What a saved memory image takes beyond twice the memory."""


def save_state(world: World, vm: Vm, label: str, storage: str | None, worker: Worker) -> str:
    """Make the volume that holds a VM's memory. Returns its id."""
    disks = drives.disks_of(vm.config)
    chosen = storage or vm.config.get("vmstatestorage")
    chosen = chosen or (parse_drive(vm.config[disks[0]])["file"].partition(":")[0] if disks else "vmstore")
    size = memory_mib(vm.config) * 1024**2 * 2 + STATE_OVERHEAD
    volid = f"{world.volumes.image_storage(chosen).name}:{vm.vmid}/vm-{vm.vmid}-state-{label}.raw"
    used = memory_mib(vm.config) * 1024**2 // 3
    world.volumes.create(vm.node, volid, vmid=vm.vmid, size=size, used=used, format="raw")
    worker.say(drives.formatting(world.volumes.path(volid), size, format="raw"))
    return volid


def running_cpu(vm: Vm) -> str:
    """The CPU model that QEMU was started with."""
    return vm.config.get("cpu", "qemu64").removeprefix("cputype=")


async def hibernate_vm(world: World, vm: Vm, storage: str | None, worker: Worker) -> None:
    """Save the memory and stop; the VM stays locked until it is resumed."""
    vm.config["lock"] = "suspending"
    label = "suspend-" + time.strftime("%Y-%m-%d", time.gmtime())
    volid = save_state(world, vm, label, storage, worker)
    await world.sleep("hibernate")
    vm.config |= {
        "lock": "suspended",
        "vmstate": volid,
        "runningmachine": MACHINE,
        "runningcpu": running_cpu(vm),
    }
    cut_off(world, vm)
    worker.say("State saved, quitting")


async def wake_vm(world: World, vm: Vm, worker: Worker) -> None:
    """Go on where a hibernated VM was stopped."""
    volid = vm.config.get("vmstate", "")
    worker.say("Resuming suspended VM")
    if volid:
        worker.say(f"activating and using '{volid}' as vmstate")
    check_volumes(world, vm)
    check_bridges(world, vm, worker)
    await world.sleep("start")
    for name in ("lock", "vmstate", "runningmachine", "runningcpu"):
        vm.config.pop(name, None)
    boot_vm(world, vm)
    if vm.run:
        vm.run.agent_at = vm.run.started
    if saved := world.volumes.find(vm.node, volid):
        world.volumes.remove(saved)
    worker.say("Resumed VM, removing state")
