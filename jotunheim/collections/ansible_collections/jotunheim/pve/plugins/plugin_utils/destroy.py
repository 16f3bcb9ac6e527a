"""Destroying a VM of ours, and proving that it is gone.

An error of any kind never means "gone": only PVE's sentence about the missing configuration together
with the cluster's list does.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from ansible_collections.jotunheim.pve.plugins.plugin_utils import clone, power
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import is_ours
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.repository import (
    ProxmoxLockedError,
    ProxmoxTimeoutError,
    VmMovedError,
    VmProtectedError,
)
from jotunheim.repositories.proxmox.tasks import pauses

OPERATION = "delete"
SCRATCH_OPERATION = "delete scratch"

# `cluster/resources` is fed by the nodes' status daemons, which look every ten seconds.
_LISTED_SECONDS = 30


class Found(NamedTuple):
    """A VM of ours that can be destroyed: its configuration and its status."""

    config: Config
    status: str


def find(vm: Vm, timeout_seconds: float, operation: str = OPERATION) -> Found | None:
    """The VM, after waiting for tasks that make or destroy it; None: it is proved that there is none.

    Raises:
        VmNotOursError: the VMID belongs to another VM.
        VmMovedError: the VM is on another node.
        VmProtectedError, ProxmoxLockedError: PVE would refuse.
    """
    vm.client.settle(operation, timeout_seconds)
    config = clone.settled(vm, timeout_seconds)
    if config is None:
        prove_unlisted(vm)
        return None
    check(vm, config)
    return Found(config, str(vm.status()["status"]))


def check(vm: Vm, config: Config) -> None:
    """Raise unless the VM is ours and PVE would let it go."""
    vm.prove_ours(config)
    check_unlocked(vm, config)
    check_unprotected(vm, config)


def check_unlocked(vm: Vm, config: Config) -> None:
    """Raise ProxmoxLockedError when another operation holds the VM."""
    if config.get("lock"):
        raise ProxmoxLockedError(
            f"VM {vm.vmid} on node {vm.node} is locked ({config['lock']}).",
            hint="Another operation on this VM is running; the node's task list shows which. "
            "Try again when it has ended.",
        )


def check_unprotected(vm: Vm, config: Config) -> None:
    """Raise VmProtectedError when PVE's protection flag is set."""
    if str(config.get("protection", "0")) == "1":
        raise VmProtectedError(
            f"VM {vm.vmid} on node {vm.node} is protected in Proxmox VE.",
            hint=f"If it may really go: `qm set {vm.vmid} --protection 0`, then try again.",
        )


def destroy(
    vm: Vm, found: Found, timeout_seconds: float, *, purge: bool = True, operation: str = OPERATION
) -> None:
    """Stop the VM if it runs, destroy it with all its disks, and prove that it is gone.

    The mark is read again immediately before the request that destroys, whatever was proved before.
    """
    needed = power.step(found.status, power.Power.STOPPED)
    if needed is not None:
        power.perform(vm, needed, int(timeout_seconds), force=False)
    config = vm.config()
    if config is not None:
        check(vm, config)
        vm.client.run(
            operation,
            "DELETE",
            vm.path(),
            timeout_seconds=timeout_seconds,
            purge=purge,
            **{"destroy-unreferenced-disks": True},
        )
        config = vm.config()
    if config is None:
        prove_unlisted(vm)
    elif is_ours(config, vm.uuid) or config.get("lock") == "destroyed":
        raise ProxmoxTimeoutError(
            f"VM {vm.vmid} on node {vm.node} is still there, although Proxmox VE has destroyed it.",
            hint="Try again.",
        )
    # Any other VM took the VMID the moment it was free. PVE has said that ours was destroyed.


def prove_unlisted(vm: Vm) -> None:
    """Raise unless the cluster's list, too, has no VM with this VMID."""
    deadline = time.monotonic() + _LISTED_SECONDS
    for pause in pauses():
        node = _listed_on(vm)
        if node is None:
            return
        if node != vm.node:
            raise VmMovedError(
                f"VM {vm.vmid} is not on node {vm.node} but on node {node}; it was not touched.",
                hint=f"Migrate it back to {vm.node}, or tell Jotunheim that the server is on {node}.",
            )
        if time.monotonic() > deadline:
            raise ProxmoxTimeoutError(
                f"VM {vm.vmid} has no configuration on node {vm.node}, and the cluster still lists it.",
                hint="Try again.",
            )
        time.sleep(pause)
    raise AssertionError("pauses() does not end")


def _listed_on(vm: Vm) -> str | None:
    """The node on which the cluster lists the VM. A container under this VMID is none of ours."""
    listed = vm.client.get("cluster/resources", type="vm")
    nodes = [
        str(guest.get("node"))
        for guest in listed
        if int(guest["vmid"]) == vm.vmid and guest.get("type") != "lxc"
    ]
    return nodes[0] if nodes else None
