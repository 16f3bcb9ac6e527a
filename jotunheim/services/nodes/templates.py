"""Templates: adding, showing, changing and deleting them, and finding those that a node has."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from jotunheim.data.node.change import TemplateChange
from jotunheim.data.node.spec import TemplateSpec
from jotunheim.data.node.view import TemplateView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxVmNotFoundError
from jotunheim.exceptions.service import NodeUnavailableError
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Node, Template, TemplateGroup
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.proxmox import ProxmoxClient, facts
from jotunheim.repositories.proxmox import template as proxmox_template
from jotunheim.repositories.proxmox.template import TemplateFacts
from jotunheim.services import resources
from jotunheim.services.nodes import sync
from jotunheim.services.nodes.nodes import endpoint
from jotunheim.settings import Settings

FILTERS = {
    "name": Template.name,
    "node_id": Template.node,
    "group_id": Template.group,
    "os_family": Template.os_family,
    "vmid": Template.vmid,
    "hidden": Template.hidden,
}
SORTABLE = {
    "id": Template.id,
    "name": Template.name,
    "vmid": Template.vmid,
    "node_id": Template.node,
    "position": Template.position,
    "created_at": Template.created_at,
    "updated_at": Template.updated_at,
}


@dataclass(frozen=True)
class Synced:
    """The templates of a node; ids of those that were not known, and of those that it has no more."""

    templates: list[TemplateView]
    added: list[int]
    missing: list[int]


def ask(spec: TemplateSpec, keyring: Keyring, settings: Settings) -> TemplateFacts | None:
    """Ask the node about a template. Takes seconds: call it outside of a transaction.

    A node that was never asked what it has, is now: then it is known what its servers can get before the first one.

    Returns:
        None when the node does not answer; that is no reason to refuse the template.

    Raises:
        DataValidationError: no such node, or the node says that the VM is missing or no template.
    """
    node = _node(spec)
    told = _ask(node, spec.vmid, keyring, settings)
    if told is not None:
        sync.first(node, keyring, settings)
    return told


def ask_again(
    template: Template, change: TemplateChange, keyring: Keyring, settings: Settings
) -> TemplateFacts | None:
    """As `ask`, of a template that is recorded, if the change needs to know it."""
    if change.minimum_disk_bytes is None:
        return None
    return _ask(template.node, template.vmid, keyring, settings)


def ask_all(node: Node, keyring: Keyring, settings: Settings) -> Mapping[int, TemplateFacts]:
    """The templates that a node has, by VMID. Takes seconds: call it outside of a transaction.

    Raises:
        NodeUnavailableError: it gives no usable answer.
    """
    try:
        with ProxmoxClient(endpoint(node, keyring, settings)) as client:
            told = {
                vmid: proxmox_template.read(client, node.name, vmid)
                for vmid in facts.template_vmids(client, node.name)
            }
    except ProxmoxRequestError as error:
        raise NodeUnavailableError(
            f"Node {node.name} gives no usable answer: {error.message}", hint=error.hint
        ) from None
    return {vmid: template for vmid, template in told.items() if template.is_template}


def create_template(spec: TemplateSpec, told: TemplateFacts | None) -> TemplateView:
    """Add a template.

    Args:
        told: what the node told of it.

    Raises:
        DataValidationError: no such node or group, or the minimum is smaller than the disk.
        UniquenessError: this VM is a template of ours already, or the group has one on this node.
    """
    node = _node(spec)
    _assert_room(spec.minimum_disk_bytes, told)
    _assert_group(spec.group_id, spec.os_family)
    columns = spec.model_dump(exclude={"node_id", "minimum_disk_bytes"})
    with _unique(node, spec.vmid):
        template: Template = Template.create(
            node=node,
            storage=told.storage if told else None,
            minimum_disk_bytes=spec.minimum_disk_bytes or (told.size_bytes if told else None),
            **columns,
        )
    return view(template)


def record_all(node: Node, told: Mapping[int, TemplateFacts]) -> Synced:
    """Add the templates of a node that are not known, hidden, and note what became of the others.

    A minimum size that the template's disk has outgrown grows with it.
    """
    known = {template.vmid: template for template in Template.on(node)}
    added = []
    for vmid in sorted(told.keys() - known.keys()):
        found = told[vmid]
        template = Template.create(
            name=found.name,
            node=node,
            vmid=vmid,
            os_family=found.os_family,
            storage=found.storage,
            minimum_disk_bytes=found.size_bytes,
            hidden=True,
        )
        added.append(template.id)
    for vmid in sorted(told.keys() & known.keys()):
        template, found = known[vmid], told[vmid]
        least = max(template.minimum_disk_bytes or 0, found.size_bytes or 0) or None
        if (template.storage, template.minimum_disk_bytes) != (found.storage, least):
            template.change(storage=found.storage, minimum_disk_bytes=least)
    absent = [template.id for vmid, template in known.items() if vmid not in told]
    Template.record_presence(node, told, absent)
    return Synced([view(template) for template in Template.on(node)], added, absent)


def list_templates(page: Page, wanted: Mapping[str, Any]) -> Paged[TemplateView]:
    """A page of the templates that these filters let through."""
    rows, total = paginate(narrowed(Template.select(), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(id_: int, if_match: str | None = None) -> Template:
    """One template; raises as `resources.find`."""
    return resources.find(Template, "template", id_, if_match)


def change_template(template: Template, change: TemplateChange, told: TemplateFacts | None) -> None:
    """Change a template.

    Args:
        told: what the node told of it.

    Raises:
        DataValidationError: there is no such group, or the minimum is smaller than the disk.
        UniquenessError: the group has another template on the same node.
    """
    _assert_room(change.minimum_disk_bytes, told)
    columns = change.given()
    group_id = columns.get("group_id", template.group_id)
    _assert_group(group_id, columns.get("os_family", template.os_family))
    with _unique(template.node, template.vmid):
        template.change(**columns)


def delete_template(template: Template) -> None:
    """Forget a template; the VM stays on its node.

    Raises:
        ConflictError, InUseError: servers were made from it, and would be rebuilt from it.
    """
    made = Server.names_where(Server.template == template, resources.SHOWN)
    resources.assert_unused("template", {"servers": made})
    template.remove()


def view(template: Template) -> TemplateView:
    """A template as the API shows it."""
    return TemplateView(
        id=template.id,
        name=template.name,
        node_id=template.node_id,
        vmid=template.vmid,
        group_id=template.group_id,
        os_family=template.os_family,
        default_user=template.default_user,
        minimum_disk_bytes=template.minimum_disk_bytes,
        minimum_memory_bytes=template.minimum_memory_bytes,
        hidden=template.hidden,
        position=template.position,
        missing_since=template.missing_since,
        created_at=template.created_at,
        updated_at=template.updated_at,
    )


def _ask(node: Node, vmid: int, keyring: Keyring, settings: Settings) -> TemplateFacts | None:
    try:
        with ProxmoxClient(endpoint(node, keyring, settings)) as client:
            told = proxmox_template.read(client, node.name, vmid)
    except ProxmoxVmNotFoundError as error:
        raise DataValidationError([FieldProblem("vmid", error.message)]) from None
    except ProxmoxRequestError:
        return None
    if not told.is_template:
        raise DataValidationError([FieldProblem("vmid", f"VM {vmid} of node {node.name} is not a template")])
    return told


def _assert_room(minimum_bytes: int | None, told: TemplateFacts | None) -> None:
    size_bytes = told.size_bytes if told else None
    if minimum_bytes and size_bytes and minimum_bytes < size_bytes:
        problem = f"must be at least {size_bytes}, the size of the template's disk"
        raise DataValidationError([FieldProblem("minimum_disk_bytes", problem)])


def _assert_group(group_id: int | None, os_family: str) -> None:
    if group_id is None:
        return
    group: TemplateGroup | None = TemplateGroup.get_or_none(TemplateGroup.id == group_id)
    if group is None:
        raise DataValidationError([FieldProblem("group_id", f"there is no template group {group_id}")])
    if group.os_family != os_family:
        problem = f"template group {group.name} is {group.os_family}, and this template {os_family}"
        raise DataValidationError([FieldProblem("group_id", problem)])


def _unique(node: Node, vmid: int) -> AbstractContextManager[None]:
    return unique(
        f"VM {vmid} of node {node.name} is a template already.",
        group=f"The group has another template on node {node.name}.",
    )


def _node(spec: TemplateSpec) -> Node:
    node: Node | None = Node.get_or_none(Node.id == spec.node_id)
    if node is None:
        raise DataValidationError([FieldProblem("node_id", f"there is no node {spec.node_id}")])
    return node
