"""Reads what a template is: its name, its operating system and the disk that it boots from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jotunheim.repositories.proxmox.client import ProxmoxClient, api_path

_SIZE = re.compile(r"(?:^|,)size=(\d+)([KMGT]?)(?:,|$)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class TemplateFacts:
    """A VM that servers may be made from."""

    name: str
    is_template: bool
    os_family: str
    """`windows` or `linux`."""
    storage: str | None
    """Where the disk is that it boots from; None: its configuration does not say."""
    size_bytes: int | None


def read(client: ProxmoxClient, node: str, vmid: int) -> TemplateFacts:
    """Ask a node about a VM.

    Raises:
        ProxmoxVmNotFoundError: the node does not have it.
        ProxmoxRequestError: it gives no usable answer.
    """
    config = client.get(api_path("nodes", node, "qemu", vmid, "config"))
    storage, size_bytes = _boot_disk(config)
    return TemplateFacts(
        name=str(config.get("name", f"vm-{vmid}")),
        is_template=bool(config.get("template")),
        os_family="windows" if str(config.get("ostype", "")).startswith("w") else "linux",
        storage=storage,
        size_bytes=size_bytes,
    )


def _boot_disk(config: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The first disk in a VM's boot order, from its volume id and its `size=`."""
    order = re.search(r"order=([\w;]+)", str(config.get("boot", "")))
    for device in order[1].split(";") if order else []:
        value = str(config.get(device, ""))
        storage, colon, _ = value.partition(":")
        if colon and "media=cdrom" not in value:
            size = _SIZE.search(value)
            return storage, int(size[1]) * _UNITS[size[2]] if size else None
    return None, None
