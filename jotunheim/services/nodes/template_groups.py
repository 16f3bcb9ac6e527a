"""Template groups: logical templates, each of which stands on several nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

from jotunheim.data.node.change import TemplateGroupChange
from jotunheim.data.node.spec import TemplateGroupSpec
from jotunheim.data.node.view import TemplateGroupView
from jotunheim.data.paging import Page, Paged
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Template, TemplateGroup
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.services import resources

FILTERS = {
    "name": TemplateGroup.name,
    "os_family": TemplateGroup.os_family,
    "hidden": TemplateGroup.hidden,
}
SORTABLE = {
    "id": TemplateGroup.id,
    "name": TemplateGroup.name,
    "position": TemplateGroup.position,
    "created_at": TemplateGroup.created_at,
    "updated_at": TemplateGroup.updated_at,
}


def create_group(spec: TemplateGroupSpec) -> TemplateGroupView:
    """Add a group.

    Raises:
        UniquenessError: the name is taken.
    """
    with unique(f"There is a template group {spec.name} already."):
        return view(TemplateGroup.create(**spec.model_dump()))


def list_groups(page: Page, wanted: Mapping[str, Any]) -> Paged[TemplateGroupView]:
    """A page of the groups that these filters let through."""
    rows, total = paginate(narrowed(TemplateGroup.select(), FILTERS, wanted), page, SORTABLE)
    return Paged(views(rows), page, total)


def find(id_: int, if_match: str | None = None) -> TemplateGroup:
    """One group; raises as `resources.find`."""
    return resources.find(TemplateGroup, "template group", id_, if_match)


def change_group(group: TemplateGroup, change: TemplateGroupChange) -> None:
    """Change a group.

    Raises:
        UniquenessError: the name is taken.
    """
    with unique(f"There is a template group {change.name} already."):
        group.change(**change.given())


def delete_group(group: TemplateGroup) -> None:
    """Delete a group.

    Raises:
        ConflictError, InUseError: a template belongs to it.
    """
    members = [template.name for template in Template.of_group(group.id)]
    resources.assert_unused("template group", {"templates": (members, len(members))})
    group.remove()


def view(group: TemplateGroup) -> TemplateGroupView:
    """A group as the API shows it."""
    return views([group])[0]


def views(groups: Sequence[TemplateGroup]) -> list[TemplateGroupView]:
    """Groups as the API shows them."""
    members = Template.by_group(groups)
    return [
        TemplateGroupView(
            id=group.id,
            name=group.name,
            os_family=group.os_family,
            default_user=group.default_user,
            minimum_disk_bytes=group.minimum_disk_bytes,
            minimum_memory_bytes=group.minimum_memory_bytes,
            hidden=group.hidden,
            position=group.position,
            template_ids=[template.id for template in members.get(group.id, [])],
            node_ids=[template.node_id for template in members.get(group.id, [])],
            created_at=group.created_at,
            updated_at=group.updated_at,
        )
        for group in groups
    ]
