"""Making a new VM from a backup exactly once, also after a crash at any moment.

The backup is another VM's. Our mark, a name and no autostart are sent with the request itself, and `unique` gives every network device
another MAC address: so no moment exists in which the VM is ready and is taken for the one that the backup was made of. A line in its
description says that it still has what is the other one's, until one write takes both away. A restore that breaks off leaves a VM
that says nothing of whose it is; that it is ours, the caller's journal says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.jotunheim.pve.plugins.plugin_utils import archive
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import (
    described,
    is_ours,
    says_nothing,
    service_lines,
    smbios_with,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.restore import OPERATION, Earlier, ended
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.repository import VmidTakenError, VmNotOursError
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.configuration import archived_config
from jotunheim.repositories.proxmox.reads import used_vmids

BEGUN = "new restore begun"
"""What a job notes its VMID under, right before the request that makes the VM."""
_LINE = "jotunheim:restored=new"
_THEIRS = re.compile(r"ipconfig[1-9]\d*|cipassword")
"""Of the VM that the backup was made of, and set by nobody who configures the first interface. A password cannot be compared."""


@dataclass(frozen=True)
class NewRestore:
    """A wanted VM.

    Attributes:
        volume: the backup.
        original_uuid: whose backup it must be.
        storage: where the disks go; None: where the backup has them.
    """

    volume: str
    original_uuid: str
    name: str
    storage: str | None = None
    timeout_seconds: int = 21_600


def settled(vm: Vm, wanted: NewRestore) -> Earlier:
    """What there is, once no earlier restore works on it any more.

    Raises:
        VmidTakenError: the VMID belongs to another VM.
    """
    config, has_failed = ended(vm, wanted.timeout_seconds)
    if config is None:
        return Earlier(None, is_done=False)
    if is_ours(config, vm.uuid):
        # One that is parted was whole, whatever a node says that has forgotten its task.
        return Earlier(config, is_done=not has_failed or _LINE not in service_lines(config))
    if says_nothing(config) and _has_begun(vm):
        return Earlier(config, is_done=False)
    raise VmidTakenError(
        f"VMID {vm.vmid} belongs to a VM that does not carry the UUID {vm.uuid}.",
        taken_vmids=used_vmids(vm.client) | {vm.vmid},
        hint="Choose another VMID.",
    )


def _has_begun(vm: Vm) -> bool:
    return any(str(vm.vmid) in vmids for _, vmids in vm.client.noted(BEGUN))


def archived(vm: Vm, wanted: NewRestore) -> Config:
    """The configuration in the backup.

    Raises:
        BackupNotFoundError: there is no such backup.
        VmNotOursError: it is another VM's.
    """
    config = archived_config(archive.readable(vm, wanted.volume))
    if not is_ours(config, wanted.original_uuid):
        raise VmNotOursError(
            f"Backup {wanted.volume} is not of the VM with the UUID {wanted.original_uuid}; nothing was made."
        )
    return config


def plan(wanted: NewRestore) -> Plan:
    """What would change."""
    return Plan(
        changes=[
            Change("exists", False, True),
            Change("name", None, wanted.name),
            Change("restored_from", None, wanted.volume),
        ]
    )


def perform(vm: Vm, found: Config, earlier: Earlier, wanted: NewRestore) -> None:
    """Make the VM, over what an attempt of ours has left.

    Args:
        found: the configuration in the backup.

    Raises:
        VmidTakenError: someone else took the VMID in the meantime.
    """
    try:
        _restore(vm, found, earlier, wanted)
    except VmidTakenError as error:
        # Perhaps by a request of our own that arrived late, after the process that sent it was killed.
        late = settled(vm, wanted)
        if late.config is None:
            taken = used_vmids(vm.client) | {vm.vmid}
            raise VmidTakenError(error.message, taken_vmids=taken, hint=error.hint) from error
        if not late.is_done:
            _restore(vm, found, late, wanted)


def _restore(vm: Vm, found: Config, earlier: Earlier, wanted: NewRestore) -> None:
    vm.client.note(BEGUN, [str(vm.vmid)])
    vm.client.run(
        OPERATION,
        "POST",
        api_path("nodes", vm.node, "qemu"),
        timeout_seconds=wanted.timeout_seconds,
        vmid=vm.vmid,
        archive=wanted.volume,
        storage=wanted.storage,
        unique=True,
        force=True if earlier.config is not None else None,
        **_identity(vm, found, wanted),
    )


def part(vm: Vm, timeout_seconds: float) -> None:
    """Take away the other one's password and the addresses of further interfaces, once."""
    config = vm.owned_config()
    if _LINE not in service_lines(config):
        return
    outdated = Plan(writes={"description": described(vm.uuid, "")})
    outdated.deletes += filter(_THEIRS.fullmatch, config)
    vm.write(outdated, config, timeout_seconds)


def predicted(vm: Vm, found: Config, wanted: NewRestore) -> Config:
    """The configuration that the VM will have, for check mode."""
    kept = {key: value for key, value in found.items() if not _THEIRS.fullmatch(key)}
    return kept | _identity(vm, found, wanted) | {"description": described(vm.uuid, "")}


def _identity(vm: Vm, found: Config, wanted: NewRestore) -> dict[str, str]:
    """What is sent with the restore itself, whatever the backup says."""
    return {
        "name": wanted.name,
        "description": described(vm.uuid, "", [_LINE]),
        "smbios1": smbios_with(found, vm.uuid),
        "onboot": "0",
        "protection": "0",
    }
