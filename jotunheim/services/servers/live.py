"""What a server's node says about it right now. Asked outside of transactions: an answer takes its time."""

from collections.abc import Iterator
from contextlib import contextmanager

from jotunheim.data.server.status import Power
from jotunheim.data.server.view import SnapshotView
from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxVmNotFoundError
from jotunheim.exceptions.service import ConflictError, NodeUnavailableError
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import ProxmoxClient, reads
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.settings import Settings


def snapshots(server: Server, keyring: Keyring, settings: Settings) -> list[SnapshotView]:
    """A server's snapshots, the oldest first.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
        ConflictError: the node has no such VM.
    """
    with _asking(server.node, keyring, settings) as client:
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


def power(server: Server, keyring: Keyring, settings: Settings) -> Power:
    """Whether a server's VM runs.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
        ConflictError: the node has no such VM.
    """
    with _asking(server.node, keyring, settings) as client:
        return Power(reads.vm_status(client, server.node.name, server.vmid))


def powers(node: Node, keyring: Keyring, settings: Settings) -> dict[int, Power]:
    """Whether the VMs of a node run, by VMID.

    Raises:
        NodeUnavailableError: the node gives no usable answer.
    """
    with _asking(node, keyring, settings) as client:
        return {vmid: Power(status) for vmid, status in reads.vm_statuses(client, node.name).items()}


@contextmanager
def _asking(node: Node, keyring: Keyring, settings: Settings) -> Iterator[ProxmoxClient]:
    try:
        with ProxmoxClient(endpoint(node, keyring, settings)) as client:
            yield client
    except ProxmoxVmNotFoundError as error:
        raise ConflictError(error.message, hint="Rebuild or delete the server.") from None
    except ProxmoxRequestError as error:
        raise NodeUnavailableError(
            f"Node {node.name} gives no usable answer: {error.message}", hint=error.hint
        ) from None
