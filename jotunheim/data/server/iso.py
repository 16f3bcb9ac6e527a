"""ISO images: those that a server's node has, and which one is in the server's drive."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from jotunheim.data.fields import Shape, View
from jotunheim.data.server.change import Restart

_NAME = re.compile(r"[^./,=][^/,=]*\.(iso|img)", re.IGNORECASE)
"""A file that Proxmox VE lists as an image, and that a VM's configuration can name."""


def is_image_name(value: str) -> bool:
    """Whether a file of this name can be mounted."""
    return value.isprintable() and _NAME.fullmatch(value) is not None


def _image_name(value: str) -> str:
    if not is_image_name(value):
        raise ValueError("must be the name of an image without a path, such as debian-12.iso")
    return value


class IsoRequest(Shape):
    """An image to be put into the server's drive: by its name, or by its volume."""

    name: Annotated[str, Field(max_length=255), AfterValidator(_image_name)] | None = None
    """For example `debian-12.iso`."""
    volume: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    """In Proxmox VE's words, for example `local:iso/debian-12.iso`: of the node's storage for images."""
    restart: Restart = Restart.NEVER
    """What to do when a running server has no drive yet, which it gets only with a restart."""


class ClientIsoView(View):
    """An image that a server can be given."""

    name: str
    size_bytes: int
    created_at: datetime | None


class IsoView(ClientIsoView):
    """An image on a node's storage for images."""

    volume: str


class ClientMountedIso(View):
    """The image in a server's drive."""

    name: str


class MountedIso(ClientMountedIso):
    """The image in a server's drive, with its volume."""

    volume: str

    @classmethod
    def of(cls, volume: str | None) -> "MountedIso | None":
        """As the server's record has it."""
        return None if volume is None else cls(name=name_of(volume), volume=volume)


def name_of(volume: str) -> str:
    """The file's name of `local:iso/debian-12.iso`."""
    return volume.rpartition("/")[2]
