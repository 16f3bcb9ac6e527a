"""Making a template from an image that the node has, exactly once, also after a crash at any moment.

The VM is made with all of its settings and our mark by one request, which PVE carries out as a whole or not at all. What can be found
half-made is hence a VM whose disk has yet to grow, or which has yet to become a template.
"""

from __future__ import annotations

from ansible_collections.jotunheim.pve.plugins.plugin_utils import destroy, network, template_image
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import Disk, check_growth, disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import General, general
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import Nic
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import template_checksum, template_mark
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.template import (
    Found,
    Stage,
    Wanted,
    check_unlinked,
    in_use,
    is_template,
    look,
    taken,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Config, Vm

from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxTaskFailedError, VmidTakenError
from jotunheim.repositories.proxmox import api_path

_CREATE = "create template"
_CONVERT = "convert to template"
_DESTROY = "delete template"

_STILL_LINKED = "still in use by linked clone"

SYSTEM_DISK = "scsi0"


def make(vm: Vm, wanted: Wanted, *, checking: bool) -> Plan:
    """Make the template, or what of it is left to do; change the settings of one that is finished.

    Raises:
        VmidTakenError, TemplateDiffersError: see `template.look`.
        TemplateInUseError: a template that shall be replaced has linked clones.
        DataValidationError: the node has no such bridge, or the image is larger than the disk shall be.
    """
    found = look(vm, wanted)
    plan = _planned(vm, found, wanted)
    if checking:
        return plan
    match found.stage:
        case Stage.DONE:
            vm.write(plan, found.config, wanted.timeout_seconds)
            return plan
        case Stage.OTHER:
            _destroy(vm, found, wanted)
            _create(vm, wanted)
        case Stage.ABSENT:
            _create(vm, wanted)
        case Stage.BEGUN:
            pass
    _finish(vm, wanted)
    return plan


def settings(config: Config, wanted: Wanted) -> Plan:
    """The plan for what may change in a finished template, too."""
    plan = general(config, General(wanted.name, wanted.cores, wanted.memory_bytes, agent=True))
    plan += network.network(config, Nic(bridge=wanted.bridge))
    return plan


def _planned(vm: Vm, found: Found, wanted: Wanted) -> Plan:
    """What will be done, after everything has been looked at that may forbid it."""
    existing = found.config if found.stage in {Stage.DONE, Stage.BEGUN} else {}
    plan = settings(existing, wanted)
    network.check_bridges(vm, existing, plan)
    if found.stage is Stage.DONE:
        return plan
    if found.stage is Stage.BEGUN:
        plan += _growth(existing, wanted)
    else:
        if found.stage is Stage.OTHER:
            destroy.check(vm, found.config)
            check_unlinked(vm, found.config)
            plan.changes.append(Change("made_of", template_checksum(found.config), wanted.checksum))
        else:
            plan.changes += [Change("exists", False, True), Change("made_of", None, wanted.checksum)]
        if wanted.disk_bytes is not None:
            if template_image.is_there(vm, wanted):
                check_growth(
                    "the image", template_image.disk_bytes(vm, wanted), wanted.disk_bytes, "disk_bytes"
                )
            plan.changes.append(Change(f"{SYSTEM_DISK}.size_bytes", None, wanted.disk_bytes))
    plan.changes.append(Change("template", False, True))
    return plan


def _growth(config: Config, wanted: Wanted) -> Plan:
    return Plan() if wanted.disk_bytes is None else disk(config, Disk(wanted.disk_bytes, SYSTEM_DISK))


def _create(vm: Vm, wanted: Wanted) -> None:
    """Make the VM with everything that it shall have; it carries our mark from its first readable moment.

    Raises:
        VmidTakenError: someone else took the VMID in the meantime, or another node of the cluster has it.
    """
    try:
        vm.client.run(
            _CREATE,
            "POST",
            api_path("nodes", vm.node, "qemu"),
            timeout_seconds=wanted.timeout_seconds,
            vmid=vm.vmid,
            description=template_mark(wanted.checksum),
            smbios1=f"uuid={vm.uuid}",
            ostype="l26",
            scsihw="virtio-scsi-pci",
            scsi0=f"{wanted.storage}:0,import-from={wanted.volid}",
            ide2=f"{wanted.storage}:cloudinit",
            serial0="socket",
            boot=f"order={SYSTEM_DISK}",
            **settings({}, wanted).writes,
        )
    except VmidTakenError as error:
        # Perhaps by a request of our own that arrived late, after the process that sent it was killed.
        if look(vm, wanted).stage is Stage.ABSENT:
            raise taken(vm, error.message) from error


def _finish(vm: Vm, wanted: Wanted) -> None:
    config = vm.owned_config()
    plan = settings(config, wanted)
    plan += _growth(config, wanted)
    vm.write(plan, config, wanted.timeout_seconds)
    vm.client.run(_CONVERT, "POST", vm.path("template"), timeout_seconds=wanted.timeout_seconds)
    if not is_template(vm.owned_config()):
        raise ProxmoxRequestError(f"VM {vm.vmid} on node {vm.node} did not become a template.")


def _destroy(vm: Vm, found: Found, wanted: Wanted) -> None:
    there = destroy.Found(found.config, str(vm.status()["status"]))
    try:
        destroy.destroy(vm, there, wanted.timeout_seconds, operation=_DESTROY)
    except ProxmoxTaskFailedError as error:
        if _STILL_LINKED not in error.message:
            raise
        raise in_use(vm, error.message.partition("\n")[0]) from error
