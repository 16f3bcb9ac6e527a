"""Putting a VM back to a backup, once.

Proxmox VE takes the VM's disks away before it unpacks the backup's: from then on there is no way back, and the caller's journal
says so. The restored VM carries our mark and a line that says which restore made it, both sent with the request itself: so no moment
exists in which the VM is ours and unmarked, and a repeated restore finds out that it is done.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ansible_collections.jotunheim.pve.plugins.plugin_utils import archive, clone, destroy, power, settle
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import (
    described,
    is_ours,
    service_lines,
    smbios_with,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.repository import (
    ProxmoxRequestError,
    ProxmoxTimeoutError,
    ProxmoxUnavailableError,
    SnapshotsExistError,
    VmNotOursError,
    VmRunningError,
)
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.configuration import archived_config

OPERATION = "restore"
TASK_TYPE = "qmrestore"
BEGUN = "restore begun"
"""What a job notes right before the request after which the VM's disks are gone: the snapshots that go with them."""
SPARED = "restore refused"
"""What it notes when Proxmox VE has refused that before it took anything away."""
_LINE = "jotunheim:restored="
_START_SECONDS = 60


@dataclass(frozen=True)
class Restore:
    """A wanted restore.

    Attributes:
        id: of this restore; the restored VM says it.
        storage: where the disks go; None: where the backup has them.
        stop: stop the VM if it runs.
        destroy_snapshots: the VM's snapshots, which go with its disks, may go.
    """

    id: str
    volume: str
    storage: str | None = None
    stop: bool = False
    destroy_snapshots: bool = False
    timeout_seconds: int = 21_600

    @property
    def line(self) -> str:
        """The service line of the restored VM."""
        return f"{_LINE}{self.id}"


@dataclass(frozen=True)
class Found:
    """What is there before.

    Attributes:
        config: of the VM; None: there is none.
        status: PVE's, of the VM.
        archived: the configuration in the backup.
    """

    config: Config | None
    status: str
    archived: Config
    snapshots: list[str]


@dataclass(frozen=True)
class Earlier:
    """What earlier attempts have left.

    Attributes:
        config: of the VM; None: there is none.
        is_done: the wanted restore has made it, and its task did not fail.
    """

    config: Config | None
    is_done: bool


def settled(vm: Vm, wanted: Restore) -> Earlier:
    """What there is, once no earlier restore works on it any more.

    Raises:
        VmNotOursError: the VMID belongs to another VM.
    """
    config, has_failed = ended(vm, wanted.timeout_seconds)
    if config is None:
        return Earlier(None, is_done=False)
    vm.prove_ours(config)
    return Earlier(config, is_done=not has_failed and wanted.line in service_lines(config))


def ended(vm: Vm, timeout_seconds: int) -> tuple[Config | None, bool]:
    """The configuration of the VM, once no restore works on it any more, and whether this job's last one is known to have failed."""
    has_failed = vm.client.settle(OPERATION, timeout_seconds) is not None and not vm.client.finished(
        OPERATION, timeout_seconds
    )
    settle.wait_for_active(vm, {vm.vmid}, {TASK_TYPE}, timeout_seconds)
    return clone.settled(vm, timeout_seconds), has_failed


def look(vm: Vm, config: Config | None, wanted: Restore) -> Found:
    """What the backup holds, and what would be lost.

    Raises:
        BackupNotFoundError: there is no such backup.
        VmNotOursError: it is another VM's.
        VmMovedError: the VM is on another node.
    """
    archived = archived_config(archive.readable(vm, wanted.volume))
    if not is_ours(archived, vm.uuid):
        raise VmNotOursError(
            f"Backup {wanted.volume} is not of the VM with the UUID {vm.uuid}; nothing was touched.",
            hint="To bring it back nevertheless, restore it by hand under a VMID of its own.",
        )
    if config is None:
        destroy.prove_unlisted(vm)
        return Found(None, "stopped", archived, [])
    listed = vm.client.get(vm.path("snapshot"))
    snapshots = [str(entry["name"]) for entry in listed if entry["name"] != "current"]
    return Found(config, str(vm.status()["status"]), archived, snapshots)


def plan(vm: Vm, found: Found, wanted: Restore) -> Plan:
    """What would change.

    Raises:
        VmRunningError: the VM runs, and shall not be stopped.
        SnapshotsExistError: its snapshots shall not go.
        ProxmoxLockedError, VmProtectedError: PVE would refuse.
    """
    changes = [Change("restored_from", None, wanted.volume)]
    if found.config is not None:
        destroy.check_unlocked(vm, found.config)
        destroy.check_unprotected(vm, found.config)
    if found.status == "running":
        if not wanted.stop:
            raise VmRunningError(
                f"VM {vm.vmid} on node {vm.node} runs.", hint="Stop it first, or ask for that."
            )
        changes.append(Change("status", "running", "stopped"))
    if found.snapshots:
        if not wanted.destroy_snapshots:
            raise SnapshotsExistError(
                f"VM {vm.vmid} has {len(found.snapshots)} snapshots, and they would go with its disks.",
                hint="Delete them, or allow it with destroy_snapshots.",
            )
        changes.append(Change("snapshots", found.snapshots, []))
    return Plan(changes=changes)


def perform(vm: Vm, found: Found, wanted: Restore) -> None:
    """Stop the VM, and put it back. When Proxmox VE refuses that, the VM is started again if it ran."""
    needed = power.step(found.status, power.Power.STOPPED)
    if needed is not None:
        power.perform(vm, needed, wanted.timeout_seconds, force=False)
    vm.client.note(BEGUN, found.snapshots)
    try:
        vm.client.run(
            OPERATION,
            "POST",
            api_path("nodes", vm.node, "qemu"),
            timeout_seconds=wanted.timeout_seconds,
            vmid=vm.vmid,
            archive=wanted.volume,
            storage=wanted.storage,
            force=True if found.config is not None else None,
            **_identity(vm, found, wanted),
        )
    except (ProxmoxUnavailableError, ProxmoxTimeoutError):
        raise  # the request may still be on its way, the task at work
    except ProxmoxRequestError:
        with suppress(ProxmoxRequestError):  # what comes first is why it failed
            if _is_as_it_was(vm, found):
                vm.client.note(SPARED)
                if needed is not None:
                    power.reach(vm, power.Power.STARTED, _START_SECONDS)
        raise


def _is_as_it_was(vm: Vm, found: Found) -> bool:
    config = vm.config()
    if config is None or found.config is None:
        return config is found.config
    return {**config, "digest": None} == {**found.config, "digest": None}


def snapshots_destroyed(vm: Vm) -> list[str]:
    """The snapshots that went, by earlier attempts of this job too."""
    return sorted({name for _, names in vm.client.noted(BEGUN) for name in names})


def predicted(vm: Vm, found: Found, wanted: Restore) -> Config:
    """The configuration afterwards, for check mode."""
    return found.archived | _identity(vm, found, wanted)


def _identity(vm: Vm, found: Found, wanted: Restore) -> dict[str, str]:
    """What is sent with the restore itself: our mark, in both places, whatever the backup says."""
    return {
        "description": described(vm.uuid, "", [wanted.line]),
        "smbios1": smbios_with(found.archived, vm.uuid),
    }
