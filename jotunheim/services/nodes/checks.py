"""Tries a node out: does it answer, is it the right one, may the token do what builds need."""

from collections.abc import Collection, Mapping

from jotunheim.data.node.view import Check, NodeTest
from jotunheim.exceptions.repository import (
    ProxmoxCertificateError,
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxUnauthorizedError,
)
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, reads
from jotunheim.services.nodes import privileges

OLDEST_VERSION = 8
_DEAD_ENDS = {ProxmoxCertificateError.code: "certificate", ProxmoxUnauthorizedError.code: "token"}
"""The checks that some errors are the failures of."""
_CODES = {"permissions": ProxmoxPermissionError.code, "version": ProxmoxRequestError.code}


def run_checks(node: Node, endpoint: Endpoint) -> NodeTest:
    """Look at connection, version, node name, permissions and storages; the first dead end ends the test."""
    checks: list[Check] = []
    version: str | None = None
    try:
        with ProxmoxClient(endpoint) as client:
            version = reads.version(client)
            checks += [_connection(node), _certificate(node), _version(version)]
            checks.append(_name(node, reads.nodes(client)))
            if checks[-1].ok:
                checks += _permissions(node, reads.permissions(client))
                checks.append(_storage(node, reads.storages(client, node.name)))
                checks.append(_firewall(reads.datacenter_firewall(client)))
    except ProxmoxRequestError as error:
        name = _DEAD_ENDS.get(error.code, "permissions" if checks else "connection")
        checks.append(Check(name=name, ok=False, message=error.message, hint=error.hint))
        return NodeTest(ok=False, code=error.code, version=version, checks=checks)
    failed = [check for check in checks if not check.ok]
    code = None
    if failed:
        code = _CODES.get(failed[0].name, "node_not_found")
    return NodeTest(ok=not failed, code=code, version=version, checks=checks)


def _connection(node: Node) -> Check:
    return Check(name="connection", ok=True, message=f"{node.host}:{node.port} answers.")


def _certificate(node: Node) -> Check:
    """What the session has made sure of before anything was sent."""
    if node.tls_fingerprint is not None:
        said = f"The certificate is the pinned one, {node.tls_fingerprint}."
    else:
        whose = "authorities that were given" if node.tls_ca_pem else "system's authorities"
        said = f"The certificate is one for {node.host}, by the {whose}."
    return Check(name="certificate", ok=True, message=said)


def _version(version: str) -> Check:
    major = version.partition(".")[0]
    ok = major.isdecimal() and int(major) >= OLDEST_VERSION
    hint = None if ok else f"Upgrade it: this needs Proxmox VE {OLDEST_VERSION} or newer."
    return Check(name="version", ok=ok, message=f"It is Proxmox VE {version}.", hint=hint)


def _name(node: Node, names: Collection[str]) -> Check:
    if node.name in names:
        return Check(name="node", ok=True, message=f"The node is called {node.name}.")
    return Check(
        name="node",
        ok=False,
        message=f"There is no node {node.name} there.",
        hint=f"Its name must be PVE's; there is {', '.join(sorted(names)) or 'none that the token sees'}.",
    )


def _permissions(node: Node, granted: Mapping[str, Mapping[str, bool]]) -> list[Check]:
    checks = []
    for grant in privileges_of(node):
        missing = privileges.missing(grant, granted)
        if missing:
            message = f"On {grant.path} the token lacks {', '.join(missing)}."
            hint = f"`jotunheim node privileges {node.name}` prints the commands that grant what is needed."
            checks.append(Check(name="permissions", ok=False, message=message, hint=hint))
        else:
            checks.append(Check(name="permissions", ok=True, message=f"On {grant.path} nothing is missing."))
    return checks


def privileges_of(node: Node) -> list[privileges.Grant]:
    """What a node's token needs."""
    return privileges.grants(
        node=node.name,
        vm_storage=node.vm_storage,
        backup_storage=node.backup_storage,
        iso_storage=node.iso_storage,
        bridge=node.bridge,
    )


def _firewall(enabled: bool | None) -> Check:
    """That anti-spoofing and firewalls of servers have an effect. Whether they shall is the operator's decision."""
    if enabled:
        return Check(name="firewall", ok=True, message="The datacenter's firewall is on.")
    says = "is off" if enabled is False else "cannot be seen (it needs Sys.Audit on /)"
    return Check(
        name="firewall",
        ok=True,
        message=f"The datacenter's firewall {says}; while it is off, anti-spoofing and firewall rules have no effect.",
        hint="Switch it on in Proxmox VE: Datacenter, Firewall, Options; let its own access through first.",
    )


def _storage(node: Node, storages: Mapping[str, reads.Storage]) -> Check:
    name = f"storage {node.vm_storage}"
    found = storages.get(node.vm_storage)
    if found is None:
        return Check(
            name=name,
            ok=False,
            message=f"The node has no storage {node.vm_storage} that the token can see.",
            hint=f"It has {', '.join(sorted(storages)) or 'none'}; correct vm_storage.",
        )
    if "images" not in found.content:
        return Check(
            name=name,
            ok=False,
            message=f"{node.vm_storage} does not take disk images.",
            hint="Correct vm_storage.",
        )
    if not found.active:
        return Check(
            name=name, ok=False, message=f"{node.vm_storage} is not active.", hint="Enable it on the node."
        )
    return Check(name=name, ok=True, message=f"{node.vm_storage} takes disk images.")
