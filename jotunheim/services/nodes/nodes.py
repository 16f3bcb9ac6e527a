"""Nodes: adding, showing, changing, draining, deleting and trying them out."""

from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.node.change import NodeChange
from jotunheim.data.node.spec import NodeSpec
from jotunheim.data.node.state import NodeStateView
from jotunheim.data.node.view import NodeTest, NodeView, TlsView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.node_state import NodeState
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import Endpoint, TlsPolicy
from jotunheim.services import resources
from jotunheim.services.nodes import state
from jotunheim.services.nodes.checks import run_checks
from jotunheim.settings import Settings

FILTERS = {"name": Node.name, "location_id": Node.location, "drained": Node.drained}
SORTABLE = {
    "id": Node.id,
    "name": Node.name,
    "location_id": Node.location,
    "created_at": Node.created_at,
    "updated_at": Node.updated_at,
}
_WAYS = frozenset({"name", "host", "port", "token_id", "tls_ca_pem", "tls_fingerprint", "vm_storage"})
"""What decides how a node is reached, and what of it counts."""


def create_node(spec: NodeSpec, keyring: Keyring) -> NodeView:
    """Add a node and keep its token secret encrypted. Whether it answers is what `test_node` finds out.

    Raises:
        DataValidationError: there is no such location.
        UniquenessError: the name is taken.
    """
    with unique(_taken(spec.name)):
        _assert_location(spec.location_id)
        node: Node = Node.create(
            name=spec.name,
            location=spec.location_id,
            host=spec.host,
            port=spec.port,
            token_id=spec.token_id,
            tls_ca_pem=spec.tls.ca_pem,
            tls_fingerprint=spec.tls.fingerprint,
            vm_storage=spec.vm_storage,
            backup_storage=spec.backup_storage,
            iso_storage=spec.iso_storage,
            bridge=spec.bridge,
            memory_overcommit=spec.memory_overcommit,
            disk_overcommit=spec.disk_overcommit,
            max_concurrent_clones=spec.max_concurrent_clones,
            labels=spec.labels,
        )
        Secret.put(keyring, node.token_reference, spec.token_secret.get_secret_value())
    return view(node)


def list_nodes(page: Page, wanted: Mapping[str, Any]) -> Paged[NodeView]:
    """A page of the nodes that these filters let through."""
    rows, total = paginate(narrowed(Node.select(), FILTERS, wanted), page, SORTABLE)
    return Paged(views(rows), page, total)


def find(id_: int, if_match: str | None = None) -> Node:
    """One node; raises as `resources.find`."""
    return resources.find(Node, "node", id_, if_match)


def change_node(node: Node, change: NodeChange, keyring: Keyring) -> None:
    """Change a node. A new token secret takes the place of the old one with the rest, or not at all.

    Raises:
        DataValidationError: there is no such location.
        ConflictError: another name, and there are servers: their VMs are on the node of the old one.
        UniquenessError: the name is taken.
    """
    columns = change.given()
    if columns.get("name", node.name) != node.name:
        resources.assert_unused("name of the node", {"servers": _servers_on(node)})
    tls, secret = columns.pop("tls", None), columns.pop("token_secret", None)
    if tls is not None:
        columns |= {"tls_ca_pem": tls.ca_pem, "tls_fingerprint": tls.fingerprint}
    if "location_id" in columns:
        _assert_location(columns["location_id"])
    with unique(_taken(change.name)):
        node.change(**columns)
        if secret is not None:
            Secret.put(keyring, node.token_reference, secret.get_secret_value())
        if secret is not None or not _WAYS.isdisjoint(columns):
            NodeState.ask_again(node)


def drain_node(node: Node, *, drained: bool) -> None:
    """Let a node take no new servers, or again."""
    node.change(drained=drained)


def delete_node(node: Node) -> None:
    """Delete a node with its token secret; nothing is changed on the host.

    Raises:
        ConflictError, InUseError: servers or templates are on it, or an address pool is only for it and others.
    """
    pools = AddressPool.names_for(node)
    users = {
        "servers": _servers_on(node),
        "templates": Template.names_on(node, resources.SHOWN),
        "backups": Backup.names_where(Backup.node == node, resources.SHOWN),
        "address_pools": (pools, len(pools)),  # bound to no node, a pool would be for all
    }
    resources.assert_unused("node", users)
    Secret.erase(node.token_reference)
    node.remove()


def _taken(name: str | None) -> str:
    return (
        f"There is a node {name} already. It is known by its name in Proxmox VE, so no two can have the same."
    )


def _servers_on(node: Node) -> tuple[list[str], int]:
    return Server.names_where(Server.node == node, resources.SHOWN)


def _assert_location(id_: int) -> None:
    if not Location.exists(id_):
        raise DataValidationError([FieldProblem("location_id", f"there is no location {id_}")])


def test_node(id_: int, keyring: Keyring, settings: Settings) -> NodeTest:
    """Connect to a node and look at what a build needs. Call it outside of a transaction: it takes seconds.

    Raises:
        NotFoundError: there is no such node.
    """
    node = find(id_)
    return run_checks(node, endpoint(node, keyring, settings))


def endpoint(node: Node, keyring: Keyring, settings: Settings) -> Endpoint:
    """Where and how to reach a node's API."""
    return Endpoint(
        host=node.host,
        port=node.port,
        token_id=node.token_id,
        token_secret=Secret.read(keyring, node.token_reference),
        tls=TlsPolicy(ca_pem=node.tls_ca_pem, fingerprint=node.tls_fingerprint),
        connect_timeout_seconds=settings.pve_connect_timeout_seconds,
        read_timeout_seconds=settings.pve_read_timeout_seconds,
    )


def view(node: Node) -> NodeView:
    """A node as the API shows it."""
    return views([node])[0]


def views(nodes: Sequence[Node]) -> list[NodeView]:
    """Nodes as the API shows them."""
    states = state.views(nodes)
    return [_view(node, states[node.id]) for node in nodes]


def _view(node: Node, told: NodeStateView) -> NodeView:
    return NodeView(
        id=node.id,
        name=node.name,
        location_id=node.location_id,
        host=node.host,
        port=node.port,
        token_id=node.token_id,
        tls=TlsView(
            verify=node.tls_fingerprint is None, ca_pem=node.tls_ca_pem, fingerprint=node.tls_fingerprint
        ),
        vm_storage=node.vm_storage,
        backup_storage=node.backup_storage,
        iso_storage=node.iso_storage,
        bridge=node.bridge,
        memory_overcommit=node.memory_overcommit,
        disk_overcommit=node.disk_overcommit,
        max_concurrent_clones=node.max_concurrent_clones,
        drained=node.drained,
        labels=node.labels,
        state=told,
        created_at=node.created_at,
        updated_at=node.updated_at,
    )
