"""Starting, stopping, resetting, pausing and hibernating VMs."""

import asyncio
import time
from itertools import count

from jotunheim.sandbox import drives
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.cloudinit import regenerate
from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.pending import apply_all
from jotunheim.sandbox.state import Run, Vm
from jotunheim.sandbox.tasks import Work, Worker
from jotunheim.sandbox.vms import MACHINE, memory_mib
from jotunheim.sandbox.world import World, check_lock

routes = Routes()

_pids = count(20_001)
EMPTY_DISK = 1024**2
"""A disk that takes less space than this has nothing on it."""
STATE_OVERHEAD = 520 * 1024**2
"""What a saved memory image takes beyond twice the memory."""


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

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            await start_vm(world, world.vm(node, vmid), worker)

    return call.task("qmstart", vmid, work)


async def start_vm(world: World, vm: Vm, worker: Worker) -> None:
    """Start a VM under its lock file: pending changes, cloud-init drive, bridges, then QEMU."""
    if vm.lock == "suspended":
        await _wake(world, vm, worker)
        return
    check_lock(vm)
    if vm.template:
        raise failure("you can't start a vm if it's a template")
    if vm.run:
        raise failure(f"VM {vm.vmid} already running")
    apply_all(world, vm)
    if drives.cloudinit_drive(vm.config):
        regenerate(world, vm)
        worker.say("generating cloud-init ISO")
    _check_volumes(world, vm)
    _check_bridges(world, vm, worker)
    await world.sleep("start")
    boot_vm(world, vm)


def boot_vm(world: World, vm: Vm) -> None:
    """The moment in which QEMU runs."""
    now = time.time()
    vm.run = Run(next(_pids), now, now + world.settings.seconds("boot"), config=dict(vm.config))


def _check_volumes(world: World, vm: Vm) -> None:
    for key in drives.drives_of(vm.config):
        volid = parse_drive(vm.config[key])["file"]
        if (
            volid not in ("none", "cdrom")
            and not volid.startswith("/")
            and not world.volumes.find(vm.node, volid)
        ):
            raise failure(f"volume '{volid}' does not exist")


def _check_bridges(world: World, vm: Vm, worker: Worker) -> None:
    for key, value in vm.config.items():
        if not (key.startswith("net") and key[3:].isdigit()):
            continue
        bridge = parse_net(value).get("bridge")
        if bridge not in world.state.nodes[vm.node].bridges:
            script = "network script /var/lib/qemu-server/pve-bridge failed with status 6400"
            worker.say(f"bridge '{bridge}' does not exist")
            worker.say(f"kvm: -netdev type=tap,id={key},ifname=tap{vm.vmid}i{key[3:]}: {script}")
            raise failure("start failed: QEMU exited with code 1")


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


def halted(world: World, vm: Vm) -> None:
    """The moment in which QEMU is gone."""
    vm.run = None
    if vm.pending or vm.pending_delete:
        apply_all(world, vm)


def guest_answers(world: World, vm: Vm) -> bool:
    """Whether a guest is up that reacts to the power button."""
    return bool(vm.run and not vm.run.paused and time.time() >= vm.run.agent_at and bootable(world, vm))


def bootable(world: World, vm: Vm) -> bool:
    """Whether there is an operating system on the VM: one of its disks came from a template or image."""
    for key in drives.disks_of(vm.config):
        volume = world.volumes.find(vm.node, parse_drive(vm.config[key])["file"])
        if volume and (volume.parent or volume.used > EMPTY_DISK):
            return True
    return False


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
        await world.sleep("shutdown")
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

    async def hibernate(worker: Worker) -> None:
        async with call.world.vm_lock(call.vmid, say=worker.say):
            vm = running(call)
            check_lock(vm)
            await _hibernate(call.world, vm, call.get("statestorage"), worker)

    work: Work = hibernate if to_disk else pause
    return call.task("qmsuspend" if to_disk else "qmpause", call.vmid, work)


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


async def _hibernate(world: World, vm: Vm, storage: str | None, worker: Worker) -> None:
    vm.config["lock"] = "suspending"
    label = "suspend-" + time.strftime("%Y-%m-%d", time.gmtime())
    volid = save_state(world, vm, label, storage, worker)
    await world.sleep("hibernate")
    vm.config |= {
        "lock": "suspended",
        "vmstate": volid,
        "runningmachine": MACHINE,
        "runningcpu": vm.config.get("cpu", "qemu64").removeprefix("cputype="),
    }
    vm.run = None
    worker.say("State saved, quitting")


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
                await _wake(world, vm, worker)
                return
            await world.sleep("pause")
            run = running(call).run
            assert run is not None
            run.paused = False

    return call.task("qmresume", vmid, work)


async def _wake(world: World, vm: Vm, worker: Worker) -> None:
    volid = vm.config.get("vmstate", "")
    worker.say("Resuming suspended VM")
    if volid:
        worker.say(f"activating and using '{volid}' as vmstate")
    _check_volumes(world, vm)
    _check_bridges(world, vm, worker)
    await world.sleep("start")
    for name in ("lock", "vmstate", "runningmachine", "runningcpu"):
        vm.config.pop(name, None)
    boot_vm(world, vm)
    if vm.run:
        vm.run.agent_at = vm.run.started
    if saved := world.volumes.find(vm.node, volid):
        world.volumes.remove(saved)
    worker.say("Resumed VM, removing state")
