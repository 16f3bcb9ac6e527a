"""What a server's node says about it right now. Asked outside of transactions: an answer takes its time."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

NODES_AT_ONCE = 8
POWERS_SECONDS = 10.0

log = logging.getLogger(__name__)


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


def powers(
    nodes: Sequence[Node], keyring: Keyring, settings: Settings
) -> Iterator[tuple[Node, dict[int, Power]]]:
    """Whether the VMs of nodes run, by VMID; several nodes are asked at a time, each within ten seconds.

    A node that gives no usable answer is logged and left out.
    """
    settings = settings.model_copy(
        update={"pve_read_timeout_seconds": min(settings.pve_read_timeout_seconds, POWERS_SECONDS)}
    )
    # Read here: the store's connections belong to threads.
    endpoints = [endpoint(node, keyring, settings) for node in nodes]

    def ask(node: Node, where: Endpoint) -> dict[int, Power] | None:
        try:
            with asking(node, where) as client:
                return {vmid: Power(status) for vmid, status in reads.vm_statuses(client, node.name).items()}
        except NodeUnavailableError as error:
            log.warning("%s", error.message)
            return None

    with ThreadPoolExecutor(NODES_AT_ONCE) as pool:
        for node, found in zip(nodes, pool.map(ask, nodes, endpoints), strict=True):
            if found is not None:
                yield node, found


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
