"""Making a VM from a template exactly once, also after a crash at any moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import described, is_ours
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.repository import (
    ProxmoxLockedError,
    ProxmoxRequestError,
    ProxmoxTimeoutError,
    VmidTakenError,
)
from jotunheim.repositories.proxmox import api_path
from jotunheim.repositories.proxmox.reads import used_vmids
from jotunheim.repositories.proxmox.tasks import pauses

OPERATION = "clone"
_CANNOT_LINK = "Linked clone feature is not supported"

# A clone's lock and its task do not appear at the same instant: one look without a task proves nothing.
_SECONDS_WITHOUT_TASK = 3


@dataclass(frozen=True)
class Clone:
    """A wanted clone.

    Attributes:
        full: copy the disks; otherwise they are linked to the template's, where its storage can do that.
        storage: where a full clone's disks go; None: where the template's are.
        service: service lines of the description, see `ownership`.
    """

    template_vmid: int
    name: str
    full: bool = False
    storage: str | None = None
    pool: str | None = None
    timeout_seconds: float = 1800
    service: tuple[str, ...] = ()


def existing(vm: Vm, wanted: Clone) -> Config | None:
    """Our finished VM, waiting for a clone that is being made; None: there is none.

    While PVE clones, the configuration shows only ``lock: clone``: whose it is is known at the end.

    Raises:
        VmidTakenError: the VMID belongs to a VM that is not ours.
    """
    config = settled(vm, wanted.timeout_seconds)
    if config is None or is_ours(config, vm.uuid):
        return config
    raise VmidTakenError(
        f"VMID {vm.vmid} belongs to a VM that does not carry the UUID {vm.uuid}.",
        taken_vmids=used_vmids(vm.client) | {vm.vmid},
        hint="Choose another VMID.",
    )


def create(vm: Vm, wanted: Clone) -> None:
    """Clone the template; the new VM carries our mark from its first readable moment.

    Raises:
        VmidTakenError: someone else took the VMID in the meantime.
    """
    try:
        try:
            _clone(vm, wanted)
        except ProxmoxRequestError as error:
            # Plain LVM, for one, cannot link. PVE says so before it has begun anything.
            if wanted.full or _CANNOT_LINK not in error.message:
                raise
            _clone(vm, replace(wanted, full=True))
    except VmidTakenError as error:
        # Perhaps by a request of our own that arrived late, after the process that sent it was killed.
        if existing(vm, wanted) is None:
            raise VmidTakenError(
                error.message, taken_vmids=used_vmids(vm.client) | {vm.vmid}, hint=error.hint
            ) from error


def _clone(vm: Vm, wanted: Clone) -> None:
    vm.client.run(
        OPERATION,
        "POST",
        api_path("nodes", vm.node, "qemu", wanted.template_vmid, "clone"),
        timeout_seconds=wanted.timeout_seconds,
        newid=vm.vmid,
        name=wanted.name,
        description=described(vm.uuid, "", wanted.service),
        full=wanted.full,
        storage=wanted.storage if wanted.full else None,
        pool=wanted.pool,
    )


def predicted(vm: Vm, wanted: Clone) -> Config:
    """The configuration that the clone will have, from the template's, for check mode."""
    config = dict(vm.client.get(api_path("nodes", vm.node, "qemu", wanted.template_vmid, "config")))
    for key in ("template", "digest", "lock"):
        config.pop(key, None)
    return config | {"name": wanted.name, "description": described(vm.uuid, "", wanted.service)}


def settled(vm: Vm, timeout_seconds: float) -> Config | None:
    """The configuration once no task makes or destroys the VM; None: there is none (any more).

    Raises:
        ProxmoxLockedError: it is being made or destroyed, and no task is at it.
        ProxmoxTimeoutError: a task was still at it after `timeout_seconds`.
    """
    config = vm.config()
    if not _in_between(config):
        return config
    if vm.client.settle(OPERATION, timeout_seconds) is not None:
        config = vm.config()
    # The crash came between the request and the journal's note. PVE's task list names a clone's template,
    # not its target, so the lock is what is watched; the list only tells a living clone from a dead one.
    deadline = time.monotonic() + timeout_seconds
    alive = time.monotonic()
    for pause in pauses():
        if config is None or not _in_between(config):
            return config
        if time.monotonic() > deadline:
            raise ProxmoxTimeoutError(
                f"VM {vm.vmid} was still locked ({config['lock']}) after {timeout_seconds:g} s."
            )
        if _makers_running(vm):
            alive = time.monotonic()
        if time.monotonic() - alive > _SECONDS_WITHOUT_TASK:
            raise ProxmoxLockedError(
                f"VM {vm.vmid} on node {vm.node} is locked ({config['lock']}), and no task is at it.",
                hint=f"The node lost its task. `qm unlock {vm.vmid}`, then remove that VM.",
            )
        time.sleep(pause)
        config = vm.config()
    raise AssertionError("pauses() does not end")


def _in_between(config: Config | None) -> bool:
    """Whether a task has the VM in its hands, and the configuration may hide whose it is."""
    return config is not None and config.get("lock") in {"clone", "create", "destroyed"}


def _makers_running(vm: Vm) -> bool:
    tasks = vm.client.get(api_path("nodes", vm.node, "tasks"), source="active")
    return any(
        task.get("type") in {"qmclone", "qmcreate", "qmrestore", "qmdestroy"} and "endtime" not in task
        for task in tasks
    )
