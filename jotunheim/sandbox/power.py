"""Starting, stopping, resetting, pausing and hibernating VMs."""

import asyncio
import time

from jotunheim.sandbox import drives
from jotunheim.sandbox.boot import boot_vm, check_bridges, check_volumes, guest_answers, halted
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.cloudinit import regenerate
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.hibernate import hibernate_vm, wake_vm
from jotunheim.sandbox.pending import apply_all
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.tasks import Work, Worker
from jotunheim.sandbox.world import World, check_lock

routes = Routes()


def running(call: Call) -> Vm:
    """The VM of the path, which must run."""
    vm = call.vm()
    if vm.run is None:
        raise failure(f"VM {vm.vmid} not running")
    return vm


def _find(world: World, node: str, vmid: int) -> Vm:
    """The VM as the stop and shutdown workers look for it."""
    vm = world.state.vms.get(vmid)
    if vm is None or vm.node != node:
        raise failure(f"unable to find configuration file for VM {vmid} on node '{node}'")
    return vm


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/start")
async def start(call: Call) -> str:
    """Start a VM. Whatever is wrong shows in the task."""
    world, node, vmid = call.world, call.node, call.vmid
    skiplock = bool(call.get("skiplock"))

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            await start_vm(world, world.vm(node, vmid), worker, skiplock=skiplock)

    return call.task("qmstart", vmid, work)


async def start_vm(world: World, vm: Vm, worker: Worker, *, skiplock: bool = False) -> None:
    """Start a VM under its lock file: pending changes, cloud-init drive, bridges, then QEMU."""
    if vm.lock == "suspended":
        await wake_vm(world, vm, worker)
        return
    if not skiplock:
        check_lock(vm)
    if vm.template:
        raise failure("you can't start a vm if it's a template")
    if vm.run:
        raise failure(f"VM {vm.vmid} already running")
    apply_all(world, vm)
    key = drives.cloudinit_drive(vm.config)
    if key:
        drives.ensure_cloudinit(world.volumes, vm, key)
        regenerate(vm)
        worker.say("generating cloud-init ISO")
    check_volumes(world, vm)
    check_bridges(world, vm, worker)
    await world.sleep("start")
    boot_vm(world, vm)


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/stop")
async def stop(call: Call) -> str:
    """Pull the plug."""
    world, node, vmid = call.world, call.node, call.vmid
    overrule = bool(call.get("overrule-shutdown"))

    async def work(worker: Worker) -> None:
        _find(world, node, vmid)
        if overrule:
            _overrule(world, vmid, worker)
        async with world.vm_lock(vmid, say=worker.say):
            vm = _find(world, node, vmid)
            if vm.run:
                check_stoppable(vm)
                await world.sleep("stop")
                halted(world, vm)

    return call.task("qmstop", vmid, work)


def check_stoppable(vm: Vm) -> None:
    """A VM that is being backed up may be stopped; other locks forbid it."""
    if vm.lock not in (None, "backup"):
        check_lock(vm)


def _overrule(world: World, vmid: int, worker: Worker) -> None:
    for task in world.tasks.archive.values():
        if task.endtime is None and task.type == "qmshutdown" and task.id == str(vmid):
            worker.say(f"aborting running shutdown task {task.upid}")
            world.tasks.stop(task)


async def _power_down(world: World, vm: Vm, seconds: int | None, worker: Worker, *, force: bool) -> None:
    """Ask the guest to power down; kill it if that is allowed and it does not react."""
    limit = (
        world.settings.seconds("shutdown_timeout") if seconds is None else seconds * world.settings.time_scale
    )
    pid = vm.run.pid if vm.run else 0
    deadline = time.time() + limit
    while not guest_answers(world, vm) and time.time() < deadline:
        await asyncio.sleep(min(0.05, max(0.0, deadline - time.time())))
    if guest_answers(world, vm):
        if world.guests:
            await world.guests.shut_down(vm)
        needed, left = world.settings.seconds("shutdown"), max(0.0, deadline - time.time())
        await asyncio.sleep(min(needed, left))
        if needed <= left:
            return
    if not force:
        raise failure("VM quit/powerdown failed - got timeout")
    if vm.run and vm.run.pid == pid:
        worker.say("VM still running - terminating now with SIGTERM")
        await world.sleep("stop")


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/shutdown")
async def shutdown(call: Call) -> str:
    """Press the power button."""
    world, node, vmid = call.world, call.node, call.vmid
    if (found := world.state.vms.get(vmid)) and found.run and found.run.paused and not call.get("forceStop"):
        raise failure("VM is paused - cannot shutdown")

    async def work(worker: Worker) -> None:
        _find(world, node, vmid)
        async with world.vm_lock(vmid, say=worker.say):
            vm = _find(world, node, vmid)
            if vm.run:
                check_stoppable(vm)
                await _power_down(world, vm, call.get("timeout"), worker, force=bool(call.get("forceStop")))
                halted(world, vm)

    return call.task("qmshutdown", vmid, work)


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/reboot")
async def reboot(call: Call) -> str:
    """Shut down and start again, which applies pending changes."""
    world, vmid = call.world, call.vmid
    if (run := running(call).run) and run.paused:
        raise failure("VM is paused - cannot reboot")

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = call.vm()
            check_lock(vm)
            await _power_down(world, vm, call.get("timeout"), worker, force=False)
            halted(world, vm)
            await start_vm(world, vm, worker)

    return call.task("qmreboot", vmid, work)


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/reset")
async def reset(call: Call) -> str:
    """Press the reset button: the guest boots anew, QEMU keeps running."""
    running(call)
    world = call.world

    async def work(worker: Worker) -> None:
        async with world.vm_lock(call.vmid, say=worker.say):
            vm = running(call)
            check_lock(vm)
            await world.sleep("reset")
            assert vm.run is not None
            vm.run.agent_at = time.time() + world.settings.seconds("boot")
            if world.guests:
                world.guests.boot(vm)

    return call.task("qmreset", call.vmid, work)


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/suspend")
async def suspend(call: Call) -> str:
    """Pause the CPUs, or save the memory to a volume and stop."""
    running(call)
    to_disk = bool(call.get("todisk"))

    async def pause(worker: Worker) -> None:
        async with call.world.vm_lock(call.vmid, say=worker.say):
            vm = running(call)
            if vm.lock != "backup":
                check_lock(vm)
            await call.world.sleep("pause")
            assert vm.run is not None
            vm.run.paused = True
            if call.world.guests:
                await call.world.guests.pause(vm)

    async def hibernate(worker: Worker) -> None:
        async with call.world.vm_lock(call.vmid, say=worker.say):
            vm = running(call)
            check_lock(vm)
            await hibernate_vm(call.world, vm, call.get("statestorage"), worker)

    work: Work = hibernate if to_disk else pause
    return call.task("qmsuspend" if to_disk else "qmpause", call.vmid, work)


@routes("POST", "/nodes/{node}/qemu/{vmid}/status/resume")
async def resume(call: Call) -> str:
    """Let a paused VM go on, or wake a hibernated one."""
    world, vmid = call.world, call.vmid
    vm = call.vm()
    hibernated = vm.lock == "suspended"
    if not hibernated:
        running(call)

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            vm = call.vm()
            if vm.lock == "suspended":
                await wake_vm(world, vm, worker)
                return
            await world.sleep("pause")
            run = running(call).run
            assert run is not None
            run.paused = False
            if world.guests:
                await world.guests.resume(vm)

    return call.task("qmresume", vmid, work)
