"""Backups that servers are made from: what is in one, which nodes can read it, and that it stays until the server is built."""

import uuid
from collections.abc import Iterable

from jotunheim.data.backup.status import BackupStatus
from jotunheim.data.job import JobType
from jotunheim.data.server.requests import Backups
from jotunheim.data.server.spec import ServerSpec
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import ProxmoxNotFoundError
from jotunheim.exceptions.service import ConflictError, LockedError, NodeUnavailableError
from jotunheim.repositories.peewee import job_history
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import locking
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.node_state import NodeState, NodeStorage
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import reads
from jotunheim.repositories.proxmox.configuration import Configuration
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.services.proxmox.placement import Place
from jotunheim.services.servers import live
from jotunheim.settings import Settings


def look(id_: uuid.UUID, keyring: Keyring, settings: Settings) -> Configuration:
    """The configuration in a backup. Call it outside of a transaction: a node is asked, the first one that answers.

    Raises:
        DataValidationError: there is no such backup.
        ConflictError: it is not ready, or its storage does not have it any more.
        NodeUnavailableError: no node that could read it gives a usable answer.
    """
    backup = _found(id_)
    _assert_ready(backup)
    error: NodeUnavailableError | None = None
    for node in readers(backup):
        try:
            return _read(backup, node, keyring, settings)
        except NodeUnavailableError as failure:
            error = error or failure
    assert error is not None
    raise error


def _read(backup: Backup, node: Node, keyring: Keyring, settings: Settings) -> Configuration:
    with live.asking(node, endpoint(node, keyring, settings)) as client:
        try:
            return reads.archived_configuration(client, node.name, str(backup.volume))
        except ProxmoxNotFoundError as error:
            raise ConflictError(
                f"The storage of backup {backup.id} does not have it any more: {error.message}"
            ) from None


def hold(id_: uuid.UUID) -> Backup:
    """A backup that a server can be made from. Call it within the transaction that records that server as building.

    Until the transaction ends nobody removes the backup, and afterwards not as long as the server is building.

    Raises:
        DataValidationError: there is no such backup.
        ConflictError: it is not ready, or goes with its server.
        LockedError: it is about to be removed.
    """
    original = _found(id_).server_id
    # The server's row comes first, as in all requests about its backups.
    server: Server | None = locking(Server.select().where(Server.id == original), Server).first()
    backup: Backup | None = locking(Backup.with_node().where(Backup.id == id_), Backup).first()
    if backup is None:
        raise _missing(id_)
    _assert_ready(backup)
    job_id = Backup.live_jobs([backup]).get(backup.id)
    if job_id is not None and Job.get_by_id(job_id).type == JobType.BACKUP_DELETE:
        raise LockedError(job_id, JobType.BACKUP_DELETE, what="backup")
    if server is not None and server.status == ServerStatus.DELETING:
        deletion = job_history.last_of(server, JobType.DELETE)
        if deletion is not None and deletion.parameters["backups"] == Backups.DELETE:
            raise ConflictError(f"Server {server.name} is being deleted, and its backups with it.")
    return backup


def assert_unread(backup: Backup) -> None:
    """Raise ConflictError when a server is being made from a backup, which has to stay until then."""
    for server in Server.being_made_from([backup.id]):
        raise ConflictError(
            f"Server {server.name} is being made from this backup.",
            details=[FieldProblem("server_id", str(server.id))],
            hint="Wait until it is built, or cancel its job.",
        )


def readers(backup: Backup) -> list[Node]:
    """The nodes that can read a backup: the one that made it, and those of its cluster that share the storage."""
    node = backup.node
    there = {storage.name: storage for storage in NodeStorage.of(node)}.get(backup.storage)
    if there is None or not there.shared:
        return [node]
    peers = NodeState.peers_by_name(NodeState.of([node])[node.id].peers)
    ids = {peer.node_id for peer in peers.values() if node.name in peer.peers}
    return [node, *NodeStorage.sharing(backup.storage, ids - {node.id})]


def candidates(spec: ServerSpec, backup: Backup, archived: Configuration) -> list[Place]:
    """Where a server could be made from a backup.

    Raises:
        DataValidationError: the spec names a node or a location from which the backup cannot be read.
    """
    nodes = readers(backup)
    fitting = [
        node
        for node in nodes
        if spec.node_id in (None, node.id) and spec.location_id in (None, node.location_id)
    ]
    if not fitting:
        raise DataValidationError(list(_not_there(spec, nodes)))
    templates = _templates(backup)
    return [
        Place(node, templates.get(node.id), least_disk_bytes=archived.disk_bytes, made_from="backup")
        for node in fitting
    ]


def _templates(backup: Backup) -> dict[int, Template]:
    """What the backup's server is rebuilt from, by the node on which that is; nothing if nobody knows."""
    server: Server | None = Server.with_places().where(Server.id == backup.server_id).first()
    if server is None or server.template is None:
        return {}
    group_id = server.template.group_id
    alike = [server.template] if group_id is None else Template.of_group(group_id)
    return {template.node_id: template for template in alike}


def _not_there(spec: ServerSpec, nodes: list[Node]) -> Iterable[FieldProblem]:
    if spec.node_id is not None and spec.node_id not in {node.id for node in nodes}:
        names = ", ".join(f"{node.id} ({node.name})" for node in nodes)
        yield FieldProblem("node_id", f"cannot read the backup; it is on node {names}")
    else:
        locations = ", ".join(str(id_) for id_ in sorted({node.location_id for node in nodes}))
        yield FieldProblem("location_id", f"cannot read the backup; it is in location {locations}")


def _found(id_: uuid.UUID) -> Backup:
    backup: Backup | None = Backup.with_node().where(Backup.id == id_).first()
    if backup is None:
        raise _missing(id_)
    return backup


def _missing(id_: uuid.UUID) -> DataValidationError:
    return DataValidationError([FieldProblem("backup_id", f"there is no backup {id_}")])


def _assert_ready(backup: Backup) -> None:
    if backup.status != BackupStatus.READY:
        raise ConflictError(f"The backup is {backup.status}; this needs one that is ready.")
