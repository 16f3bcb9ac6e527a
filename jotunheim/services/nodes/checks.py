"""Tries a node out: does it answer, is it the right one, may the token do what builds need."""

from collections.abc import Callable
from typing import Any

from jotunheim.data.node.view import Check, NodeTest
from jotunheim.exceptions.repository import ProxmoxRequestError
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient

# What the playbooks' requests need, by the privileges that PVE's API documentation names for them.
VM_PRIVILEGES = (
    "VM.Allocate",
    "VM.Audit",
    "VM.Clone",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
)
STORAGE_PRIVILEGES = ("Datastore.AllocateSpace", "Datastore.Audit")
BRIDGE_PRIVILEGES = ("SDN.Use",)


def run_checks(node: Node, endpoint: Endpoint) -> NodeTest:
    """Look at connection, version, node name, permissions and storages; the first dead end ends the test."""
    checks: list[Check] = []
    version: str | None = None
    try:
        with ProxmoxClient(endpoint) as client:
            version = client.get("/version")["version"]
            checks.append(
                Check(
                    name="connection",
                    ok=True,
                    message=f"{node.host}:{node.port} answers as Proxmox VE {version}.",
                )
            )
            client.get(f"/nodes/{node.name}/status")
            checks.append(Check(name="node", ok=True, message=f"The node is called {node.name}."))
            checks += _permissions(node, client.get)
            checks.append(_storage(node, client.get))
    except ProxmoxRequestError as error:
        name = "node" if checks else "connection"
        checks.append(Check(name=name, ok=False, message=error.message, hint=error.hint))
        return NodeTest(ok=False, code=error.code, version=version, checks=checks)
    ok = all(check.ok for check in checks)
    return NodeTest(ok=ok, code=None if ok else "node_permission", version=version, checks=checks)


def _permissions(node: Node, get: Callable[[str], Any]) -> list[Check]:
    granted: dict[str, dict[str, int]] = get("/access/permissions")
    wanted = {
        "/vms": VM_PRIVILEGES,
        f"/storage/{node.vm_storage}": STORAGE_PRIVILEGES,
        f"/sdn/zones/localnetwork/{node.bridge}": BRIDGE_PRIVILEGES,
    }
    checks = []
    for path, privileges in wanted.items():
        held = _held(granted, path)
        missing = [privilege for privilege in privileges if privilege not in held]
        checks.append(
            Check(
                name="permissions",
                ok=not missing,
                message=f"On {path} the token lacks {', '.join(missing)}."
                if missing
                else f"On {path} nothing is missing.",
                hint="Give the token a role with these privileges, with propagation." if missing else None,
            )
        )
    return checks


def _held(granted: dict[str, dict[str, int]], path: str) -> set[str]:
    """Privileges on a path: those of the longest path above it that has an entry, as PVE inherits them."""
    best = ""
    for candidate in granted:
        if (path == candidate or candidate == "/" or path.startswith(candidate + "/")) and len(
            candidate
        ) > len(best):
            best = candidate
    return set(granted.get(best, {}))


def _storage(node: Node, get: Callable[[str], Any]) -> Check:
    storages = {storage["storage"]: storage for storage in get(f"/nodes/{node.name}/storage")}
    name = f"storage {node.vm_storage}"
    found = storages.get(node.vm_storage)
    if found is None:
        return Check(
            name=name,
            ok=False,
            message=f"The node has no storage {node.vm_storage} that the token can see.",
            hint=f"It has {', '.join(sorted(storages)) or 'none'}; correct vm_storage.",
        )
    if "images" not in str(found.get("content", "")).split(","):
        return Check(
            name=name,
            ok=False,
            message=f"{node.vm_storage} does not take disk images.",
            hint="Correct vm_storage.",
        )
    if not found.get("active", 1):
        return Check(
            name=name, ok=False, message=f"{node.vm_storage} is not active.", hint="Enable it on the node."
        )
    return Check(name=name, ok=True, message=f"{node.vm_storage} takes disk images.")
