"""Name, CPU, memory, tags, autostart and guest agent: what differs from what is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties, flag

from jotunheim.exceptions.model import DataValidationError, FieldProblem

MIB = 1024 * 1024

# What PVE assumes for absent keys (qemu-server's configuration schema).
_DEFAULT_CORES = 1
_DEFAULT_MEMORY_MIB = 512
_DEFAULT_CPU = "kvm64"


@dataclass(frozen=True)
class General:
    """Wanted values; None leaves a setting as it is."""

    name: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    cpu_type: str | None = None
    tags: Sequence[str] | None = None
    onboot: bool | None = None
    agent: bool | None = None


# What PVE can boot from (`man qm`, boot).
_BOOTABLE = re.compile(r"(scsi|virtio|sata|ide|net|usb|hostpci)\d+")


def general(config: Mapping[str, Any], wanted: General) -> Plan:
    """The plan that makes the general settings as wanted.

    Raises:
        DataValidationError: the memory is not a whole number of MiB.
    """
    plan = Plan()
    if wanted.name is not None:
        plan.set("name", config.get("name"), wanted.name)
    if wanted.cores is not None:
        _cores(plan, config, wanted.cores)
    if wanted.memory_bytes is not None:
        _memory(plan, config, wanted.memory_bytes)
    if wanted.cpu_type is not None:
        before = Properties(str(config.get("cpu", _DEFAULT_CPU)), "cputype")
        after = Properties(str(before), "cputype")
        after["cputype"] = wanted.cpu_type
        plan.set_properties("cpu", before, after)
    if wanted.tags is not None:
        _tags(plan, config, wanted.tags)
    if wanted.onboot is not None:
        plan.set("onboot", bool(int(config.get("onboot", 0))), wanted.onboot, sent=int(wanted.onboot))
    if wanted.agent is not None:
        agent = Properties(str(config.get("agent", "0")), "enabled")
        after = Properties(str(agent), "enabled")
        after["enabled"] = flag(wanted.agent)
        plan.set_properties("agent", agent, after)
    return plan


def boot_order(config: Mapping[str, Any], wanted: Sequence[str]) -> Plan:
    """The plan that makes the VM boot from these devices, the first one first.

    Args:
        config: the configuration with the devices that the same request adds.

    Raises:
        DataValidationError: the list is empty, or names a device twice, or one that the VM does not have.
    """
    problems = [] if wanted else ["must name at least one device"]
    for number, device in enumerate(wanted):
        if not _BOOTABLE.fullmatch(device):
            problems.append(f"{device!r} is no device that a VM boots from, such as scsi0 or net0")
        elif device not in config:
            problems.append(f"the VM has no device {device}")
        elif device in wanted[:number]:
            problems.append(f"names {device} twice")
    if problems:
        raise DataValidationError([FieldProblem("boot_order", problem) for problem in problems])
    plan = Plan()
    order = Properties(str(config.get("boot", ""))).get("order", "")
    before = [device for device in order.split(";") if device]
    plan.set("boot", before, list(wanted), sent=f"order={';'.join(wanted)}", shown_as="boot_order")
    return plan


def memory_bytes(config: Mapping[str, Any]) -> int:
    """The configured memory."""
    value = Properties(str(config.get("memory", _DEFAULT_MEMORY_MIB)), "current")["current"]
    return int(value) * MIB


def tag_list(config: Mapping[str, Any]) -> list[str]:
    """The configured tags in PVE's order."""
    return [tag for tag in str(config.get("tags", "")).replace(",", ";").replace(" ", ";").split(";") if tag]


def _cores(plan: Plan, config: Mapping[str, Any], wanted: int) -> None:
    """The same number on each socket, or else all on one."""
    sockets = int(config.get("sockets", 1))
    if wanted % sockets:
        plan.set("sockets", sockets, 1)
        sockets = 1
    plan.set("cores", int(config.get("cores", _DEFAULT_CORES)), wanted // sockets)


def _memory(plan: Plan, config: Mapping[str, Any], wanted: int) -> None:
    if wanted % MIB:
        raise DataValidationError([FieldProblem("memory_bytes", f"must be a multiple of {MIB} (1 MiB)")])
    plan.set("memory", memory_bytes(config), wanted, sent=wanted // MIB, shown_as="memory_bytes")


def _tags(plan: Plan, config: Mapping[str, Any], wanted: Sequence[str]) -> None:
    # PVE sorts tags and, as it comes, folds their case.
    before = sorted({tag.lower() for tag in tag_list(config)})
    after = sorted({tag.strip().lower() for tag in wanted} - {""})
    if after:
        plan.set("tags", before, after, sent=";".join(after))
    elif before:
        plan.remove("tags", before)
