"""Templates: adding, showing, changing and deleting them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jotunheim.data.node.change import TemplateChange
from jotunheim.data.node.spec import TemplateSpec
from jotunheim.data.node.view import TemplateView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxVmNotFoundError
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import ProxmoxClient, api_path
from jotunheim.services.nodes import resources
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.settings import Settings

FILTERS = {
    "name": Template.name,
    "node_id": Template.node,
    "os_family": Template.os_family,
    "vmid": Template.vmid,
}
SORTABLE = {
    "id": Template.id,
    "name": Template.name,
    "vmid": Template.vmid,
    "node_id": Template.node,
    "created_at": Template.created_at,
    "updated_at": Template.updated_at,
}
_SIZE = re.compile(r"(?:^|,)size=(\d+)([KMGT]?)(?:,|$)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class TemplateDisk:
    """The disk that a template boots from; None: its configuration does not say."""

    storage: str | None
    size_bytes: int | None


def read_disk(spec: TemplateSpec, keyring: Keyring, settings: Settings) -> TemplateDisk | None:
    """Ask the node about the template's disk. Takes seconds: call it outside of a transaction.

    Returns:
        None when the node does not answer; that is no reason to refuse the template.

    Raises:
        DataValidationError: no such node, or the node says that the VM is missing or no template.
    """
    return _read_disk(_node(spec), spec.vmid, keyring, settings)


def read_disk_again(
    template: Template, change: TemplateChange, keyring: Keyring, settings: Settings
) -> TemplateDisk | None:
    """As `read_disk`, of a template that is recorded, if the change needs to know it."""
    if change.minimum_disk_bytes is None:
        return None
    return _read_disk(template.node, template.vmid, keyring, settings)


def _read_disk(node: Node, vmid: int, keyring: Keyring, settings: Settings) -> TemplateDisk | None:
    try:
        with ProxmoxClient(endpoint(node, keyring, settings)) as client:
            config = client.get(api_path("nodes", node.name, "qemu", vmid, "config"))
    except ProxmoxVmNotFoundError as error:
        raise DataValidationError([FieldProblem("vmid", error.message)]) from None
    except ProxmoxRequestError:
        return None
    if not config.get("template"):
        raise DataValidationError([FieldProblem("vmid", f"VM {vmid} of node {node.name} is not a template")])
    return _boot_disk(config)


def create_template(spec: TemplateSpec, disk: TemplateDisk | None) -> TemplateView:
    """Add a template.

    Args:
        disk: what the node told of its disk.

    Raises:
        DataValidationError: no such node, or the minimum is smaller than the disk.
        UniquenessError: this VM is a template of ours already.
    """
    node = _node(spec)
    size_bytes = disk.size_bytes if disk else None
    _assert_room(spec.minimum_disk_bytes, disk)
    with unique(f"VM {spec.vmid} of node {node.name} is a template already."):
        template: Template = Template.create(
            name=spec.name,
            node=node,
            vmid=spec.vmid,
            os_family=spec.os_family,
            default_user=spec.default_user,
            storage=disk.storage if disk else None,
            minimum_disk_bytes=spec.minimum_disk_bytes or size_bytes,
        )
    return view(template)


def list_templates(page: Page, wanted: Mapping[str, Any]) -> Paged[TemplateView]:
    """A page of the templates that these filters let through."""
    rows, total = paginate(narrowed(Template.select(), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(id_: int, if_match: str | None = None) -> Template:
    """One template; raises as `resources.find`."""
    return resources.find(Template, "template", id_, if_match)


def change_template(template: Template, change: TemplateChange, disk: TemplateDisk | None) -> None:
    """Change a template.

    Args:
        disk: what the node told of its disk.

    Raises:
        DataValidationError: the minimum is smaller than the disk.
    """
    _assert_room(change.minimum_disk_bytes, disk)
    template.change(**change.given())


def delete_template(template: Template) -> None:
    """Forget a template; the VM stays on its node.

    Raises:
        ConflictError, InUseError: servers were made from it, and would be rebuilt from it.
    """
    made = Server.names_where(Server.template == template, resources.SHOWN)
    resources.assert_unused("template", {"servers": made})
    template.remove()


def _assert_room(minimum_bytes: int | None, disk: TemplateDisk | None) -> None:
    size_bytes = disk.size_bytes if disk else None
    if minimum_bytes and size_bytes and minimum_bytes < size_bytes:
        problem = f"must be at least {size_bytes}, the size of the template's disk"
        raise DataValidationError([FieldProblem("minimum_disk_bytes", problem)])


def _node(spec: TemplateSpec) -> Node:
    node: Node | None = Node.get_or_none(Node.id == spec.node_id)
    if node is None:
        raise DataValidationError([FieldProblem("node_id", f"there is no node {spec.node_id}")])
    return node


def _boot_disk(config: dict[str, object]) -> TemplateDisk:
    """The first disk in a VM's boot order, from its volume id and its `size=`."""
    order = re.search(r"order=([\w;]+)", str(config.get("boot", "")))
    for device in order[1].split(";") if order else []:
        value = str(config.get(device, ""))
        storage, colon, _ = value.partition(":")
        if colon and "media=cdrom" not in value:
            size = _SIZE.search(value)
            return TemplateDisk(storage, int(size[1]) * _UNITS[size[2]] if size else None)
    return TemplateDisk(None, None)


def view(template: Template) -> TemplateView:
    """A template as the API shows it."""
    return TemplateView(
        id=template.id,
        name=template.name,
        node_id=template.node_id,
        vmid=template.vmid,
        group_id=None,
        os_family=template.os_family,
        default_user=template.default_user,
        minimum_disk_bytes=template.minimum_disk_bytes,
        created_at=template.created_at,
        updated_at=template.updated_at,
    )
