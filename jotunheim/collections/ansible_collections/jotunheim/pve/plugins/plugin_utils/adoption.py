"""Making a VM ours that somebody else has made: its description gets the mark, and nothing else changes.

When the VM has an SMBIOS UUID, that becomes the server's; so the guest sees the hardware that it knows. Only a VM
without one, or with that of another server, is given one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ansible_collections.jotunheim.pve.plugins.plugin_utils import ownership
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxLockedError, VmNotOursError


def assert_meant(vm: Vm, config: Mapping[str, Any], smbios_uuid: str, replaces: str) -> None:
    """Make sure that this is the VM that was looked at, and that it is free to be taken.

    Args:
        smbios_uuid: what it had then; "": none.
        replaces: the server whose mark may be replaced; "": nobody's.

    Raises:
        VmNotOursError: it is another one by now, a template, or marked for another server.
        ProxmoxLockedError: something is being done to it.
    """
    if config.get("lock"):
        raise ProxmoxLockedError(
            f"VM {vm.vmid} on node {vm.node} is locked ({config['lock']}).",
            hint="Try again when that has ended.",
        )
    if int(config.get("template", 0)):
        _refuse(vm, "is a template")
    if ownership.smbios_uuid(config) not in {smbios_uuid.lower(), vm.uuid}:
        _refuse(vm, "is another one than the one that was looked at")
    if ownership.marked_for(config) not in {None, vm.uuid, replaces.lower()}:
        _refuse(vm, "is marked for another server")


def adopted(config: Mapping[str, Any], uuid: str) -> Plan:
    """The plan that marks a VM; its text stays, and what it notes of rebuilds unless they were another server's."""
    service = None if ownership.marked_for(config) in {None, uuid} else ()
    return ownership.identity(config, uuid, None, service)


def released(config: Mapping[str, Any], uuid: str, replaced: str) -> Plan:
    """The plan that takes the mark of this server off again; the SMBIOS UUID stays.

    Args:
        replaced: the server whose mark it has replaced, which stands there again; "": nobody's.
    """
    plan = Plan()
    if ownership.marked_for(config) == uuid:
        text = ownership.description_text(config)
        if replaced.lower() not in {"", uuid}:
            text = ownership.described(replaced, text)
        if text:
            plan.set("description", config["description"], text)
        else:
            plan.remove("description", config["description"])
    return plan


def _refuse(vm: Vm, why: str) -> NoReturn:
    raise VmNotOursError(
        f"VM {vm.vmid} on node {vm.node} {why}; it was not touched.", hint="Look at it again, then import it."
    )
