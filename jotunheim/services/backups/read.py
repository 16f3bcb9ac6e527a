"""Finds backups and shows them."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.backup.status import BackupMode, BackupStatus, Compression
from jotunheim.data.backup.view import BackupView
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.view import NodeSummary
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import locking
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import resources

FILTERS = {
    "status": Backup.status,
    "locked": Backup.locked,
    "server_id": Backup.server_uuid,
    "owner_id": Backup.owner,
    "node_id": Backup.node,
    "storage": Backup.storage,
    "kept": lambda kept: Backup.server.is_null(kept),
}
SORTABLE = {
    "created_at": Backup.created_at,
    "taken_at": Backup.taken_at,
    "size_bytes": Backup.size_bytes,
    "status": Backup.status,
}


def find(id_: uuid.UUID, server: Server | None = None, if_match: str | None = None) -> Backup:
    """A backup with its node; within a transaction nobody else changes it until that ends.

    Args:
        server: only a backup of this one.
        if_match: the version that the caller knows.

    Raises:
        NotFoundError: there is none.
        PreconditionFailedError: it has another version.
    """
    query = Backup.with_node().where(Backup.id == id_)
    if server is not None:
        query = query.where(Backup.server == server)
    backup: Backup | None = locking(query, Backup).first()
    if backup is None:
        raise NotFoundError("backup", id_)
    resources.assert_version("backup", backup, if_match)
    return backup


def find_kept(id_: uuid.UUID, if_match: str | None = None) -> Backup:
    """A backup of a server that is gone; the rest as `find`.

    Raises:
        ConflictError: its server is there.
    """
    backup = find(id_, if_match=if_match)
    if backup.server_id is not None:
        raise ConflictError(
            f"Backup {id_} is of the server {backup.server_name}.",
            hint=f"Ask for it at /servers/{backup.server_id}/backups/{id_}.",
        )
    return backup


def list_backups(page: Page, wanted: Mapping[str, Any], server: Server | None = None) -> Paged[BackupView]:
    """A page of the backups that these filters let through, the newest first unless `sort` says otherwise.

    Args:
        server: only backups of this one.
    """
    page = page if page.sort else Page(page.number, page.per_page, "-created_at")
    query = Backup.with_node()
    if server is not None:
        query = query.where(Backup.server == server)
    rows, total = paginate(narrowed(query, FILTERS, wanted), page, SORTABLE)
    return Paged(views(rows), page, total)


def view(backup: Backup) -> BackupView:
    """A backup as the API shows it."""
    return views([backup])[0]


def views(backups: Sequence[Backup]) -> list[BackupView]:
    """Backups as the API shows them."""
    jobs = Backup.live_jobs(backups)
    return [
        BackupView(
            id=backup.id,
            server_id=backup.server_id,
            server_name=backup.server_name,
            owner_id=backup.owner_id,
            status=BackupStatus(backup.status),
            job_id=jobs.get(backup.id),
            node=NodeSummary(id=backup.node.id, name=backup.node.name),
            storage=backup.storage,
            volume=backup.volume,
            vmid=backup.vmid,
            mode=BackupMode(backup.mode),
            compress=Compression(backup.compress),
            notes=backup.notes,
            locked=backup.locked,
            size_bytes=backup.size_bytes,
            taken_at=backup.taken_at,
            created_at=backup.created_at,
            updated_at=backup.updated_at,
        )
        for backup in backups
    ]
