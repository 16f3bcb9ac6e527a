"""The moments in which a VM begins and ends to run, and what must be there for it."""

import time
from itertools import count

from jotunheim.sandbox import drives
from jotunheim.sandbox.configvalues import parse_net
from jotunheim.sandbox.drives import parse_drive
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.pending import apply_all
from jotunheim.sandbox.state import Run, Vm
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.world import World

_pids = count(20_001)
EMPTY_DISK = 1024**2
"""A disk that takes less space than this has nothing on it."""


def boot_vm(world: World, vm: Vm) -> None:
    """The moment in which QEMU runs."""
    vm.run = begun(vm, boots_for=world.settings.seconds("boot"))
    if world.guests:
        world.guests.boot(vm)


def next_pid() -> int:
    """The process id of a QEMU that begins."""
    return next(_pids)


def begun(vm: Vm, *, boots_for: float) -> Run:
    """A QEMU process that begins now, whose guest's agent answers after so many seconds."""
    now = time.time()
    return Run(next_pid(), now, now + boots_for, config=dict(vm.config))


def halted(world: World, vm: Vm) -> None:
    """The moment in which QEMU is gone."""
    cut_off(world, vm)
    if vm.pending or vm.pending_delete:
        apply_all(world, vm)


def cut_off(world: World, vm: Vm) -> None:
    """QEMU ends, whatever the guest is doing."""
    vm.run = None
    if world.guests:
        world.guests.cut(vm)


def guest_answers(world: World, vm: Vm) -> bool:
    """Whether a guest is up that reacts to the power button."""
    if vm.run is None or vm.run.paused:
        return False
    if world.guests:
        return world.guests.ready(vm)
    return time.time() >= vm.run.agent_at and bootable(world, vm)


def bootable(world: World, vm: Vm) -> bool:
    """Whether there is an operating system on the VM: one of its disks came from a template or image."""
    for key in drives.disks_of(vm.config):
        volume = world.volumes.find(vm.node, parse_drive(vm.config[key])["file"])
        if volume and (volume.parent or volume.used > EMPTY_DISK):
            return True
    return False


def check_volumes(world: World, vm: Vm) -> None:
    """Refuse to start a VM that misses a volume."""
    for key in drives.drives_of(vm.config):
        volid = parse_drive(vm.config[key])["file"]
        if (
            volid not in ("none", "cdrom")
            and not volid.startswith("/")
            and not world.volumes.find(vm.node, volid)
        ):
            raise failure(f"volume '{volid}' does not exist")


def check_bridges(world: World, vm: Vm, worker: Worker) -> None:
    """Refuse to start a VM whose bridge its node has not."""
    for key, value in vm.config.items():
        if not (key.startswith("net") and key[3:].isdigit()):
            continue
        bridge = parse_net(value).get("bridge")
        if bridge not in world.state.nodes[vm.node].bridges:
            script = "network script /var/lib/qemu-server/pve-bridge failed with status 6400"
            worker.say(f"bridge '{bridge}' does not exist")
            worker.say(f"kvm: -netdev type=tap,id={key},ifname=tap{vm.vmid}i{key[3:]}: {script}")
            raise failure("start failed: QEMU exited with code 1")
