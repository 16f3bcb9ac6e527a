"""Changing a VM's configuration: PUT (at once) and POST (a task), with deletions and reverts."""

from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import drives, pve84
from jotunheim.sandbox.access import ROOT
from jotunheim.sandbox.bridges import require_bridges
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.configvalues import ROOT_ONLY, check_sshkeys, normal_tags, privilege_of, stored
from jotunheim.sandbox.drives import boot_devices, is_cdrom, is_drive, parse_drive, print_boot
from jotunheim.sandbox.errors import bad_params, failure, forbidden
from jotunheim.sandbox.pending import add_unused, free_volume, owns, settle
from jotunheim.sandbox.state import Vm
from jotunheim.sandbox.tasks import Worker
from jotunheim.sandbox.vms import check_digest
from jotunheim.sandbox.world import World, check_lock

routes = Routes()

CONTROL = frozenset({"node", "vmid", "digest", "delete", "revert", "force", "skiplock", "background_delay"})


@routes("PUT", "/nodes/{node}/qemu/{vmid}/config")
async def put_config(call: Call) -> None:
    """Change the configuration and wait until that is done."""
    change = Change(call)
    async with call.world.vm_lock(call.vmid):
        change.check(call.vm())
        await call.world.sleep("config")
        change.apply(call.vm())


@routes("POST", "/nodes/{node}/qemu/{vmid}/config")
async def post_config(call: Call) -> str:
    """Change the configuration in a task."""
    change = Change(call)
    vmid = call.vmid
    async with call.world.vm_lock(vmid):
        change.check(call.vm())

    async def work(worker: Worker) -> None:
        async with call.world.vm_lock(vmid, say=worker.say):
            worker.say(f"update VM {vmid}: {change.text}")
            await call.world.sleep("config")
            change.apply(call.vm())

    return call.task("qmconfig", vmid, work)


class Change:
    """One request to change a configuration, checked in the order in which PVE checks."""

    def __init__(self, call: Call) -> None:
        self.world = call.world
        self.skiplock = bool(call.get("skiplock"))
        self.force = bool(call.get("force"))
        self.digest: str | None = call.get("digest")
        self.delete = split_list(str(call.get("delete", "")))
        self.revert = split_list(str(call.get("revert", "")))
        self.values: dict[str, Any] = {k: v for k, v in call.params.items() if k not in CONTROL}
        if "cdrom" in self.values:
            if "ide2" in self.values:
                raise bad_params(cdrom="conflicts with 'ide2'")
            self.values["ide2"] = f"{self.values.pop('cdrom')},media=cdrom"
        self._refuse_for_others(call)
        self._check_names()
        if "sshkeys" in self.values:
            check_sshkeys(str(self.values["sshkeys"]))
        if not (self.values or self.delete or self.revert):
            raise failure("no options specified")
        call.vm()
        self._check_privileges(call)
        require_bridges(call, {name: str(value) for name, value in self.values.items()})
        for name, value in self.values.items():
            if is_drive(name):
                drives.check_drive(call.world.volumes, call.node, name, str(value))
        self.stored = {n: v if is_drive(n) else stored(n, v) for n, v in self.values.items()}
        if "tags" in self.stored:
            self.stored["tags"] = normal_tags(self.stored["tags"])
        if "description" in self.stored:
            self.stored["description"] = self.stored["description"].rstrip()

    @property
    def text(self) -> str:
        """The change as PVE logs it."""
        parts = [f"-{n} {'<hidden>' if n == 'cipassword' else self.values[n]}" for n in sorted(self.values)]
        if self.delete:
            parts.append(f"-delete {','.join(self.delete)}")
        return " ".join(parts)

    def check(self, vm: Vm) -> None:
        """The checks that need the VM's lock file."""
        check_digest(vm, self.digest)
        if not self.skiplock:
            check_lock(vm)
        self._check_boot(vm)
        protected = vm.config.get("protection") == "1"
        for name in self.delete:
            if protected and is_drive(name):
                raise failure(f"can't remove drive '{name}' - protection mode enabled")
            if protected and name.startswith("unused") and name in vm.config:
                raise failure(f"can't remove unused disk '{vm.config[name]}' - protection mode enabled")

    def apply(self, vm: Vm) -> None:
        """Make the change, as far as the VM takes it now."""
        boot = boot_devices(vm.pending.get("boot", vm.config.get("boot", "")))
        for name in self.revert:
            self._revert(vm, name)
        for name in self.delete:
            self._delete(vm, name, boot)
        for name, value in self.stored.items():
            self._set(vm, name, str(value), boot)
        for name in [n for n, value in vm.pending.items() if vm.config.get(n) == value]:
            del vm.pending[name]
        settle(self.world, vm)

    def _refuse_for_others(self, call: Call) -> None:
        """Some parameters are for the root user only, and not even for root's tokens."""
        if call.auth.user == ROOT and not call.auth.token:
            return
        for name in [*self.values, *self.delete, *self.revert]:
            if name == "lock":
                raise forbidden("only root can use the 'lock' option")
            if name in ROOT_ONLY:
                raise failure(f"only root can set '{name}' config")

    def _check_names(self) -> None:
        known = pve84.config_properties()
        for name in self.delete:
            if name in self.values:
                raise bad_params(delete=f"you can't use '-{name}' and -delete {name}' at the same time")
            if pve84.option(known, name) is None and name not in ("vmstate", "template", "parent"):
                raise bad_params(delete=f"unknown option '{name}'")
        for name in self.revert:
            if pve84.option(known, name) is None:
                raise bad_params(revert=f"unknown option '{name}'")
            if name in self.values:
                raise bad_params(revert=f"you can't use '-{name}' and '-revert {name}' at the same time")
            if name in self.delete:
                raise bad_params(
                    revert=f"you can't use '-delete {name}' and '-revert {name}' at the same time"
                )

    def _check_privileges(self, call: Call) -> None:
        path = f"/vms/{call.vmid}"
        for name in [*self.values, *self.delete, *self.revert]:
            if is_drive(name):
                text = str(self.values.get(name, ""))
                if text:
                    drives.require_option_privilege(call.require, path, text)
                else:
                    call.require(path, "VM.Config.Disk", "VM.Config.CDROM", any_of=True)
            else:
                call.require(path, privilege_of(name))

    def _check_boot(self, vm: Vm) -> None:
        for device in boot_devices(str(self.values.get("boot", ""))):
            gone = device in self.delete
            if gone or not (device in vm.config or device in vm.pending or device in self.values):
                raise failure(f"invalid bootorder: device '{device}' does not exist'")

    def _revert(self, vm: Vm, name: str) -> None:
        vm.pending_delete.pop(name, None)
        value = vm.pending.pop(name, None)
        if value and is_drive(name) and owns(vm, parse_drive(value)["file"]):
            add_unused(vm, parse_drive(value)["file"])

    def _delete(self, vm: Vm, name: str, boot: list[str]) -> None:
        pending = vm.pending.pop(name, None)
        if pending is None and name not in vm.config:
            return
        if name in boot and "boot" not in self.delete:
            boot.remove(name)
            vm.pending["boot"] = print_boot(boot)
        if name.startswith("unused"):
            volid = vm.config[name]
            if owns(vm, volid):
                free_volume(self.world, vm, volid)
            del vm.config[name]
            return
        if pending and is_drive(name):
            add_unused(vm, parse_drive(pending)["file"])
        if name in vm.config:
            vm.pending_delete[name] = self.force

    def _set(self, vm: Vm, name: str, value: str, boot: list[str]) -> None:
        vm.pending_delete.pop(name, None)
        if is_drive(name):
            replaced = vm.pending.get(name)
            if replaced and owns(vm, parse_drive(replaced)["file"]):
                add_unused(vm, parse_drive(replaced)["file"])
            asked = parse_drive(value)
            value, _ = drives.allocate(self.world.volumes, vm, name, value)
            if boot and is_cdrom(asked) and name not in boot:
                boot.append(name)
                vm.pending["boot"] = print_boot(boot)
        vm.pending[name] = value


def update_in_task(world: World, vm: Vm, values: dict[str, str], worker: Worker) -> None:
    """A change that another operation makes, with the line that PVE logs for it."""
    worker.say(f"update VM {vm.vmid}: " + " ".join(f"-{name} {values[name]}" for name in sorted(values)))
    vm.pending |= values
    settle(world, vm)
