"""What a server's node says about it right now. Asked outside of transactions: an answer takes its time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jotunheim.data.server.iso import IsoView, is_image_name, name_of
from jotunheim.data.server.status import Power
from jotunheim.data.server.view import SnapshotView
from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxVmNotFoundError
from jotunheim.exceptions.service import ConflictError, NodeUnavailableError
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, reads, state
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.settings import Settings


def snapshots(server: Server, keyring: Keyring, settings: Settings) -> list[SnapshotView]:
    """A server's snapshots, the oldest first.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
        ConflictError: the node has no such VM.
    """
    with asking(server.node, endpoint(server.node, keyring, settings)) as client:
        found = reads.snapshots(client, server.node.name, server.vmid)
    return [
        SnapshotView(
            name=snapshot.name,
            description=snapshot.description,
            with_memory=snapshot.with_memory,
            parent=snapshot.parent,
            created_at=snapshot.created_at,
        )
        for snapshot in found
    ]


def images(server: Server, keyring: Keyring, settings: Settings) -> list[IsoView]:
    """The ISO images that a server can be given: those on the storage for images of its node.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
    """
    node = server.node
    with asking(node, endpoint(node, keyring, settings)) as client:
        found = reads.images(client, node.name, node.iso_storage)
    return [
        IsoView(
            name=name_of(image.volume),
            size_bytes=image.size_bytes,
            created_at=image.created_at,
            volume=image.volume,
        )
        for image in found
        if is_image_name(name_of(image.volume))
    ]


def power(server: Server, keyring: Keyring, settings: Settings) -> Power:
    """Whether a server's VM runs, for a job: its error is the node's own.

    Raises:
        ProxmoxRequestError: the node gives no usable answer, or has no such VM.
    """
    with ProxmoxClient(endpoint(server.node, keyring, settings)) as client:
        return Power(reads.vm_status(client, server.node.name, server.vmid))


def state_of(node: Node, watched: Mapping[str, Any], keyring: Keyring, settings: Settings) -> state.State:
    """What of a node's state a plan rests on.

    Args:
        watched: the arguments of `state.read`.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
    """
    with asking(node, endpoint(node, keyring, settings)) as client:
        return state.read(client, node.name, **watched)


@contextmanager
def asking(node: Node, where: Endpoint) -> Iterator[ProxmoxClient]:
    """A session in which the node's errors become those of a request.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
        ConflictError: it has no such VM.
    """
    try:
        with ProxmoxClient(where) as client:
            yield client
    except ProxmoxVmNotFoundError as error:
        raise ConflictError(error.message, hint="Rebuild or delete the server.") from None
    except ProxmoxRequestError as error:
        raise NodeUnavailableError(
            f"Node {node.name} gives no usable answer: {error.message}", hint=error.hint
        ) from None
