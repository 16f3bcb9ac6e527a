"""Nodes: adding, showing and trying them out."""

from jotunheim.data.node.spec import NodeSpec
from jotunheim.data.node.view import NodeTest, NodeView, TlsView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.proxmox import Endpoint, TlsPolicy
from jotunheim.services.nodes.checks import run_checks
from jotunheim.settings import Settings


def create_node(spec: NodeSpec, keyring: Keyring) -> NodeView:
    """Add a node and keep its token secret encrypted. Whether it answers is what `test_node` finds out.

    Raises:
        DataValidationError: there is no such location.
        UniquenessError: the name is taken.
    """
    with unique(f"There is a node {spec.name} already."):
        if not Location.exists(spec.location_id):
            raise DataValidationError(
                [FieldProblem("location_id", f"there is no location {spec.location_id}")]
            )
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
        )
        Secret.put(keyring, node.token_reference, spec.token_secret.get_secret_value())
    return _view(node)


def list_nodes(page: Page) -> Paged[NodeView]:
    """A page of all nodes."""
    rows, total = paginate(Node.select(), page, [Node.id, Node.name])
    return Paged([_view(row) for row in rows], page, total)


def read_node(id_: int) -> NodeView:
    """One node."""
    return _view(_find(id_))


def test_node(id_: int, keyring: Keyring, settings: Settings) -> NodeTest:
    """Connect to a node and look at what a build needs. Call it outside of a transaction: it takes seconds.

    Raises:
        NotFoundError: there is no such node.
    """
    node = _find(id_)
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


def _find(id_: int) -> Node:
    node: Node | None = Node.get_or_none(Node.id == id_)
    if node is None:
        raise NotFoundError("node", id_)
    return node


def _view(node: Node) -> NodeView:
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
        created_at=node.created_at,
        updated_at=node.updated_at,
    )
