"""The image in a server's CD-ROM drive. Only what is on the storage for images of the server's own node can be mounted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.change import IsoChange, Restart
from jotunheim.data.server.iso import IsoRequest, IsoView
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services.servers.configure import configure
from jotunheim.services.servers.plans import Manner
from jotunheim.services.servers.requests import Asked

SORTABLE: Mapping[str, Callable[[IsoView], Any]] = {
    "name": lambda image: image.name,
    "size_bytes": lambda image: image.size_bytes,
    "created_at": lambda image: image.created_at.timestamp() if image.created_at else 0.0,
}


def list_images(found: Sequence[IsoView], page: Page, name: str | None) -> Paged[IsoView]:
    """A page of the images that a node has, or of those with this in their names."""
    wanted = [image for image in found if name is None or name.lower() in image.name.lower()]
    return Paged.cut(wanted, page, SORTABLE)


def mount(
    server: Server, wanted: IsoRequest, found: Sequence[IsoView], actor: Actor, manner: Manner
) -> Asked:
    """Queue that an image is put into the server's drive, in place of another one.

    Args:
        found: what the node's storage has.

    Raises:
        LockedError: a job has the server.
        ConflictError: it is not ready.
        DataValidationError: there is no such image.
    """
    return _set(server, _volume(wanted, found), wanted.restart, actor, manner)


def unmount(server: Server, actor: Actor, manner: Manner) -> Asked:
    """Queue that the server's drive is emptied; raises as `mount`."""
    return _set(server, None, Restart.NEVER, actor, manner)


def _set(server: Server, volume: str | None, restart: Restart, actor: Actor, manner: Manner) -> Asked:
    job = configure(server, IsoChange(iso=volume, restart=restart), actor, manner)
    assert job is not None
    return Asked(server, job)


def _volume(wanted: IsoRequest, found: Sequence[IsoView]) -> str:
    if (wanted.name is None) == (wanted.volume is None):
        raise DataValidationError([FieldProblem("name", "must be given, or volume, and not both")])
    for image in found:
        if image.name == wanted.name or image.volume == wanted.volume:
            return image.volume
    field = "name" if wanted.volume is None else "volume"
    raise DataValidationError(
        [FieldProblem(field, "there is no such image on the storage for images of the server's node")]
    )
