"""Network devices: model, MAC, bridge, VLAN, MTU, rate, firewall. Unknown options are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.properties import Properties, flag
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.proxmox import api_path

_NIC = re.compile(r"net\d+")
MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3")
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Nic:
    """A wanted network device; None leaves an option as it is.

    Attributes:
        index: N of PVE's `netN`.
        vlan: VLAN tag; 0: untagged.
        mtu: bytes; 1: the bridge's; 0: the default.
        rate_bytes_per_second: limit in both directions; 0: none.
        mac: address of the device; a new one without it gets one from PVE.
    """

    index: int = 0
    bridge: str | None = None
    model: str | None = None
    vlan: int | None = None
    mtu: int | None = None
    rate_bytes_per_second: int | None = None
    firewall: bool | None = None
    mac: str | None = None


def network(config: Mapping[str, Any], wanted: Nic) -> Plan:
    """The plan that makes one network device as wanted; it is added when there is none, but not only to be held to a rate."""
    plan = Plan()
    key = f"net{wanted.index}"
    rate = wanted.rate_bytes_per_second
    if key not in config and rate is not None and wanted == Nic(wanted.index, rate_bytes_per_second=rate):
        return plan
    before = nic(str(config[key])) if key in config else Properties()
    after = Properties()
    after.update(before)
    after.put("model", wanted.model or before.get("model", MODELS[0]))
    if wanted.mac is not None and wanted.mac.upper() != before.get("macaddr", "").upper():
        after["macaddr"] = wanted.mac.upper()
    if wanted.bridge is not None:
        after["bridge"] = wanted.bridge
    if wanted.vlan is not None:
        after.put("tag", str(wanted.vlan) if wanted.vlan else None)
    if wanted.mtu is not None:
        after.put("mtu", str(wanted.mtu) if wanted.mtu else None)
    if wanted.rate_bytes_per_second is not None:
        _rate(after, wanted.rate_bytes_per_second)
    if wanted.firewall is not None and wanted.firewall != (before.get("firewall") == "1"):
        after["firewall"] = flag(wanted.firewall)
    plan.set_properties(key, before, after)
    if key in plan.writes:
        plan.writes[key] = nic_text(after)
    return plan


def check_bridges(vm: Vm, config: Mapping[str, Any], plan: Plan) -> None:
    """Refuse a plan that puts a device on a bridge that the node does not have, or that the token may not use.

    A running VM's hotplug would otherwise fail after the rest of the same write has been applied.
    """
    wanted = {}
    for key, text in plan.writes.items():
        bridge = nic(str(text)).get("bridge") if _NIC.fullmatch(key) else None
        if bridge and bridge != nic(str(config.get(key, ""))).get("bridge"):
            wanted[key] = bridge
    if not wanted:
        return
    listed = vm.client.get(api_path("nodes", vm.node, "network"), type="any_bridge")
    known = {str(entry["iface"]) for entry in listed}
    # An empty list may only mean that this token sees none; Proxmox VE then decides itself.
    problems = [
        FieldProblem("bridge", f"node {vm.node} has no bridge {bridge} for {key} that the token may use")
        for key, bridge in wanted.items()
        if known and bridge not in known
    ]
    if problems:
        raise DataValidationError(problems)


def nic(text: str) -> Properties:
    """A device with `model` and `macaddr` as options of their own, whichever way PVE wrote them."""
    options = Properties(text)
    parsed = Properties()
    for key, value in options.items():
        if key in MODELS or (not value and "model" not in options and "model" not in parsed):
            parsed["model"] = key
            if value:
                parsed["macaddr"] = value
        else:
            parsed[key] = value
    return parsed


def nic_text(device: Properties) -> str:
    """The way PVE writes a device: ``model=MAC,option=…``; without a MAC it makes one."""
    options = Properties()
    options[device["model"]] = device.get("macaddr", "")
    options.update({key: value for key, value in device.items() if key not in {"model", "macaddr"}})
    return str(options)


def _rate(device: Properties, wanted: int) -> None:
    """PVE's `rate` is in MiB per second with decimals."""
    current = round(float(device.get("rate", 0)) * _MIB)
    if not wanted:
        device.put("rate", None)
    # 1 KiB/s apart is the same: PVE keeps the decimals that it was given, and we give six.
    elif not current or abs(current - wanted) > 1024:
        device["rate"] = f"{wanted / _MIB:.6f}".rstrip("0").rstrip(".")
