"""Creating a VM, also by restoring a backup."""

import time
import uuid
from typing import Any

from jotunheim.sandbox import drives, restore
from jotunheim.sandbox.access import ROOT
from jotunheim.sandbox.bridges import require_bridges
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.configvalues import ROOT_ONLY, privilege_of, stored
from jotunheim.sandbox.drives import is_drive
from jotunheim.sandbox.errors import ApiError, failure, forbidden
from jotunheim.sandbox.power import start_vm
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import QEMU
from jotunheim.sandbox.world import World

routes = Routes()

NOT_CONFIG = frozenset(
    [
        "node",
        "vmid",
        "archive",
        "force",
        "live-restore",
        "pool",
        "start",
        "storage",
        "unique",
        "bwlimit",
        "ha-managed",
        "import-working-storage",
    ]
)


@routes("POST", "/nodes/{node}/qemu")
async def create(call: Call) -> str:
    """Create a VM, or restore one from an archive."""
    world, vmid = call.world, call.vmid
    pool = call.get("pool")
    if pool is not None and pool not in world.state.pools:
        raise forbidden(f"pool '{pool}' does not exist")
    if not call.may(f"/vms/{vmid}", "VM.Allocate") and not (
        pool and call.may(f"/pool/{pool}", "VM.Allocate")
    ):
        call.require(f"/vms/{vmid}", "VM.Allocate")
    if "archive" in call.params:
        return await restore.restore(call, config_of(call))
    config = config_of(call)
    require_bridges(call, config)
    for name, value in config.items():
        if is_drive(name):
            drives.check_drive(world.volumes, call.node, name, value)
    what = f"unable to create VM {vmid}"
    try:
        async with world.vm_lock(vmid):
            refuse_existing(world, vmid, what)
            vm = Vm(vmid, call.node, {"lock": "create"})
            world.state.vms[vmid] = vm
    except ApiError as error:
        if error.message.startswith("can't lock"):
            raise failure(f"{what} - {error.message}") from error
        raise

    async def work(worker: Worker) -> None:
        async with world.vm_lock(vmid, say=worker.say):
            try:
                await _fill(world, vm, config, worker)
            except ApiError as error:
                del world.state.vms[vmid]
                raise failure(f"{what} - {error.message}") from error
            if pool:
                world.state.pools[pool].vms.append(vmid)
            if call.get("start"):
                worker.say("Execute autostart")
                await start_vm(world, vm, worker)

    return call.task("qmcreate", vmid, work)


def config_of(call: Call) -> dict[str, str]:
    """The configuration that the request asks for, each option with its privilege checked."""
    values: dict[str, Any] = {name: value for name, value in call.params.items() if name not in NOT_CONFIG}
    path = f"/vms/{call.vmid}"
    pool = call.get("pool")
    for name, value in values.items():
        if name in ROOT_ONLY and (call.auth.user != ROOT or call.auth.token):
            raise failure(f"only root can set '{name}' config")
        if pool and call.may(f"/pool/{pool}", "VM.Allocate"):
            continue
        if is_drive(name):
            drives.require_option_privilege(call.require, path, str(value))
        else:
            call.require(path, privilege_of(name))
    return {name: str(value) if is_drive(name) else stored(name, value) for name, value in values.items()}


def refuse_existing(world: World, vmid: int, what: str) -> None:
    """Refuse an id that a VM has, with the node that has it."""
    if vmid in world.state.vms:
        raise failure(f"{what} - VM {vmid} already exists on node '{world.state.vms[vmid].node}'")


async def _fill(world: World, vm: Vm, config: dict[str, str], worker: Worker) -> None:
    made = []
    try:
        for name in drives.drives_of(config):
            config[name], volume = drives.allocate(world.volumes, vm, name, config[name], worker.say)
            made += [volume] if volume else []
    except ApiError:
        for volume in made:
            world.volumes.remove(volume)
        raise
    await world.sleep("create")
    config.setdefault("vmgenid", str(uuid.uuid4()))
    config.setdefault("smbios1", f"uuid={uuid.uuid4()}")
    config.setdefault("boot", drives.default_boot(config))
    config["meta"] = f"creation-qemu={QEMU},ctime={int(time.time())}"
    vm.config = config
