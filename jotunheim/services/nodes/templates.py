"""Templates: adding and showing them."""

import re
from dataclasses import dataclass

from jotunheim.data.node.spec import TemplateSpec
from jotunheim.data.node.view import TemplateView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError, ProxmoxRequestError, ProxmoxVmNotFoundError
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.proxmox import ProxmoxClient, api_path
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.settings import Settings

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
    node = _node(spec)
    try:
        with ProxmoxClient(endpoint(node, keyring, settings)) as client:
            config = client.get(api_path("nodes", node.name, "qemu", spec.vmid, "config"))
    except ProxmoxVmNotFoundError as error:
        raise DataValidationError([FieldProblem("vmid", error.message)]) from None
    except ProxmoxRequestError:
        return None
    if not config.get("template"):
        raise DataValidationError(
            [FieldProblem("vmid", f"VM {spec.vmid} of node {node.name} is not a template")]
        )
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
    if spec.minimum_disk_bytes and size_bytes and spec.minimum_disk_bytes < size_bytes:
        problem = f"must be at least {size_bytes}, the size of the template's disk"
        raise DataValidationError([FieldProblem("minimum_disk_bytes", problem)])
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
    return _view(template)


def list_templates(page: Page) -> Paged[TemplateView]:
    """A page of all templates."""
    rows, total = paginate(Template.select(), page, [Template.id, Template.name, Template.vmid])
    return Paged([_view(row) for row in rows], page, total)


def read_template(id_: int) -> TemplateView:
    """One template."""
    template = Template.get_or_none(Template.id == id_)
    if template is None:
        raise NotFoundError("template", id_)
    return _view(template)


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


def _view(template: Template) -> TemplateView:
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
