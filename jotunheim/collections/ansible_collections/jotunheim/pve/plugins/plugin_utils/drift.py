"""What differs between a VM and what is wanted of it, by the plans of the plugins that would mend it. Only reads.

A plan's `before` is what was found, its `after` what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import firewall
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes, same_size, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.firewall import Wanted
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import (
    described,
    description_text,
    marked_for,
    smbios_uuid,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.sections import sections
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.bounded import bounded
from jotunheim.exceptions.model import DataValidationError
from jotunheim.exceptions.repository import ProxmoxNotFoundError

EXISTS = "exists"
OWNER = "owner"
MARK = "mark"
POWER = "power"
FIREWALL = "firewall."
"""What the names of the firewall's settings begin with."""
VALUE_CHARACTERS = 9_000
"""The most that is told of one value, so that what a result may have is enough for all: Proxmox VE's longest description has 8192."""
SETTINGS_CHARACTERS = 32_000
"""The same of all settings together."""


def of_config(config: Mapping[str, Any], args: Mapping[str, Any], uuid: str) -> Plan:
    """What differs in a configuration of ours.

    Args:
        args: options of `vm_config`.
    """
    plan = _identity(config, uuid, args["description"])
    size = args["disk"]["size_bytes"] if args["disk"] else None
    others = Plan()
    for section in sections(config, {**args, "disk": None}, others, uuid=uuid):
        try:
            others += section()
        except (
            DataValidationError
        ) as error:  # what is wanted is impossible here, e.g. to boot from a disk that is gone
            others.changes += [
                Change(problem.field, problem.message, args.get(problem.field)) for problem in error.problems
            ]
        except ProxmoxNotFoundError as error:
            others.changes.append(Change("disk", error.message, None))
    plan += others
    plan += _disk(config, size)
    return plan


def of_firewall(vm: Vm, wanted: Wanted) -> Plan:
    """What differs in the firewall."""
    plan = Plan()
    if not wanted.is_nothing:
        made = firewall.plan(firewall.read(vm, wanted, new=False), wanted)
        plan.changes += [
            Change(FIREWALL + change.key, change.before, change.after) for change in made.changes
        ]
    return plan


def cut(plan: Plan) -> Plan:
    """What a result tells of a plan: long values, such as a thousand rules, end with a mark."""
    return Plan(
        changes=[
            Change(
                change.key,
                bounded(change.before, VALUE_CHARACTERS),
                bounded(change.after, VALUE_CHARACTERS),
            )
            for change in plan.changes
        ]
    )


def _identity(config: Mapping[str, Any], uuid: str, description: str | None) -> Plan:
    plan = Plan()
    plan.set("smbios1.uuid", smbios_uuid(config) or None, uuid)
    plan.set(MARK, marked_for(config), uuid)
    found = description_text(config)
    if description is not None and described(uuid, found) != described(uuid, description):
        plan.set("description", found, description)
    return plan


def _disk(config: Mapping[str, Any], wanted: int | None) -> Plan:
    """The system disk's size; unlike `vm_config` also one that is larger than wanted, which cannot be mended."""
    plan = Plan()
    if wanted is None:
        return plan
    try:
        device = system_disk(config)
    except ProxmoxNotFoundError as error:
        plan.set("disk", error.message, wanted)
        return plan
    found = disk_sizes(config)[device]
    if not same_size(found, wanted):
        plan.set(f"{device}.size_bytes", found, wanted)
    return plan
