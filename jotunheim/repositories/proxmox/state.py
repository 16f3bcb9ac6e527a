"""What of a node's state a preview rests on: small enough to be kept, and compared before its plan is applied."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jotunheim.exceptions.repository import ProxmoxNotFoundError, ProxmoxVmNotFoundError
from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path
from jotunheim.repositories.proxmox.reads import used_vmids, vm_status

State = dict[str, Any]


def read(
    client: ProxmoxClient,
    node: str,
    *,
    vmid: int,
    new: bool = False,
    template_vmid: int | None = None,
    scratch_vmid: int | None = None,
    backup_storage: str | None = None,
    backup_volume: str | None = None,
    firewall: bool = False,
) -> State:
    """What there is right now, by what it is called in errors.

    Args:
        vmid: the server's VM.
        new: it is still to be made, so only whether its VMID is free counts.
        template_vmid: what is cloned.
        scratch_vmid: the VM beside which a rebuild makes the new disk.
        firewall: the VM's firewall is of matter too.
        backup_storage: where backups are that would go.
        backup_volume: what the server is made from.

    Raises:
        ProxmoxRequestError: the node gives no usable answer.
    """
    found: State = {"vmid": _in_use(client, node, vmid)} if new else _of_vm(client, node, vmid)
    if firewall:
        found["firewall"] = _firewall(client, node, vmid)
    if template_vmid is not None:
        found["template"] = _digest(client, node, template_vmid)
    if scratch_vmid is not None:
        found["scratch"] = _digest(client, node, scratch_vmid)
    if backup_storage is not None:
        path = api_path("nodes", node, "storage", backup_storage, "content")
        listed = client.get(path, content="backup", vmid=vmid)
        found["backups"] = sorted([str(backup["volid"]), bool(backup.get("protected"))] for backup in listed)
    if backup_volume is not None:
        found["backup"] = _archived(client, node, backup_volume)
    return found


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of what is not as it was."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _of_vm(client: ProxmoxClient, node: str, vmid: int) -> State:
    """A VM's configuration, power and snapshots; of one that the node does not have, nothing."""
    config = _digest(client, node, vmid)
    if config is None:
        return {"config": None, "power": None, "snapshots": None}
    try:
        listed = client.get(api_path("nodes", node, "qemu", vmid, "snapshot"))
        power: str | None = vm_status(client, node, vmid)
    except ProxmoxNotFoundError:  # it went in between
        return {"config": None, "power": None, "snapshots": None}
    snapshots = sorted(
        [str(entry["name"]), entry.get("snaptime")] for entry in listed if entry["name"] != "current"
    )
    return {"config": config, "power": power, "snapshots": snapshots}


def _firewall(client: ProxmoxClient, node: str, vmid: int) -> str:
    """A digest of our own over options, rules and the addresses that the first device may use."""
    base = ("nodes", node, "qemu", vmid, "firewall")
    parts: list[Any] = [client.get(api_path(*base, part)) for part in ("options", "rules")]
    try:
        parts.append(client.get(api_path(*base, "ipset", "ipfilter-net0")))
    except ProxmoxNotFoundError:
        parts.append(None)
    return hashlib.sha256(json.dumps(_without_digests(parts), sort_keys=True).encode()).hexdigest()


def _without_digests(parts: Any) -> Any:
    if isinstance(parts, list):
        return [_without_digests(part) for part in parts]
    if isinstance(parts, dict):
        return {name: value for name, value in parts.items() if name != "digest"}
    return parts


def _digest(client: ProxmoxClient, node: str, vmid: int) -> str | None:
    """Proxmox VE's digest over a VM's whole configuration file; None: the node has no such VM."""
    try:
        return str(client.get(api_path("nodes", node, "qemu", vmid, "config"))["digest"])
    except ProxmoxVmNotFoundError:
        return None


def _archived(client: ProxmoxClient, node: str, volume: str) -> str | None:
    """A digest of our own over the configuration in a backup; None: there is no such backup."""
    try:
        text = client.get(api_path("nodes", node, "vzdump", "extractconfig"), volume=volume)
    except ProxmoxNotFoundError:
        return None
    return hashlib.sha256(str(text).encode()).hexdigest()


def _in_use(client: ProxmoxClient, node: str, vmid: int) -> bool:
    return _digest(client, node, vmid) is not None or vmid in used_vmids(client)
