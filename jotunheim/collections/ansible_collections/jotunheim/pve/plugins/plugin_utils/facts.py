"""What a VM is right now, in our units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import agent
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk_sizes, system_disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import memory_bytes, tag_list
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import nic
from ansible_collections.jotunheim.pve.plugins.plugin_utils.ownership import description_text, is_ours
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.repository import ProxmoxNotFoundError
from jotunheim.repositories.proxmox import reads


def read(vm: Vm, agent_timeout_seconds: float = 0) -> dict[str, Any]:
    """The facts of the VM, ours or not; only ``exists: false`` and its address when the node has none.

    Args:
        agent_timeout_seconds: how long to wait for the guest agent of a running VM; 0: do not ask.
    """
    where = {"vmid": vm.vmid, "node": vm.node, "uuid": vm.uuid}
    config = vm.config()
    if config is None:
        return {"exists": False, "owned": False, **where}
    status = vm.status()
    enabled = agent.enabled(config)
    ask = agent_timeout_seconds > 0 and enabled and status.get("status") == "running"
    addresses = _agent_addresses(vm, agent_timeout_seconds) if ask else None
    return {
        "exists": True,
        "owned": is_ours(config, vm.uuid),
        **where,
        **_settings(config),
        "status": status.get("status"),
        "uptime_seconds": int(status.get("uptime", 0)),
        "lock": config.get("lock"),
        "agent": {
            "enabled": enabled,
            "asked": ask,
            "answered": addresses is not None,
            "addresses": addresses or [],
        },
        "config": config,
    }


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a configuration."""
    return {
        "name": config.get("name"),
        "template": bool(int(config.get("template", 0))),
        "cores": int(config.get("cores", 1)),
        "memory_bytes": memory_bytes(config),
        "disks": disk_sizes(config),
        "system_disk": _system_disk(config),
        "mac_addresses": {
            key: nic(str(value)).get("macaddr")
            for key, value in config.items()
            if re.fullmatch(r"net\d+", key)
        },
        "tags": tag_list(config),
        "description": description_text(config),
        "onboot": bool(int(config.get("onboot", 0))),
    }


def snapshots(vm: Vm) -> list[dict[str, Any]]:
    """The VM's snapshots, the oldest first."""
    return [
        {
            "name": found.name,
            "description": found.description,
            "with_memory": found.with_memory,
            "created_at": found.created_at.isoformat(),
            "parent": found.parent,
        }
        for found in reads.snapshots(vm.client, vm.node, vm.vmid)
    ]


def _system_disk(config: Mapping[str, Any]) -> str | None:
    try:
        return system_disk(config)
    except ProxmoxNotFoundError:
        return None


def _agent_addresses(vm: Vm, timeout_seconds: float) -> list[dict[str, Any]] | None:
    """Addresses by interface, without loopback; None: the agent did not answer in time."""
    answer = agent.ask(vm, "network-get-interfaces", timeout_seconds)
    return None if answer is None else _addresses(answer.get("result") or [])


def _addresses(interfaces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "interface": interface.get("name"),
            "mac": interface.get("hardware-address"),
            "family": address.get("ip-address-type"),
            "address": address.get("ip-address"),
            "prefix_length": address.get("prefix"),
        }
        for interface in interfaces
        if interface.get("name") != "lo"
        for address in interface.get("ip-addresses") or []
    ]
