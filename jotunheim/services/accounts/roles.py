"""Roles: what users of one kind may do. `admin` and `client` are always there."""

from typing import Any

from jotunheim.data.account import ADMIN, CLIENT, RoleChange, RoleSpec, RoleView
from jotunheim.data.actor import Actor
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.accounts import Role, User
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.services import resources
from jotunheim.services.accounts.rights import assert_may_give

BUILT_IN = frozenset({ADMIN, CLIENT})
FILTERS = {"name": Role.name, "admin": Role.admin}
SORTABLE = {
    "id": Role.id,
    "name": Role.name,
    "created_at": Role.created_at,
    "updated_at": Role.updated_at,
}


def list_roles(page: Page, wanted: dict[str, Any]) -> Paged[RoleView]:
    """A page of the roles that these filters let through."""
    rows, total = paginate(narrowed(Role.select(), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(id_: int, if_match: str | None = None) -> Role:
    """One role; raises as `resources.find`."""
    return resources.find(Role, "role", id_, if_match)


def create_role(spec: RoleSpec, actor: Actor) -> Role:
    """Add a role.

    Raises:
        ForbiddenError: it allows more than the actor may do.
        UniquenessError: the name is taken.
    """
    role = Role(**spec.model_dump())
    assert_may_give(actor, role)
    with unique(f"There is a role {spec.name} already."):
        role.save(force_insert=True)
    return role


def change_role(role: Role, change: RoleChange, actor: Actor) -> None:
    """Change a role, for all who have it at once.

    Raises:
        ConflictError: it is always as it is.
        ForbiddenError: it allowed or will allow more than the actor may do.
    """
    _assert_changeable(role)
    assert_may_give(actor, role)
    role.change(**change.given())
    assert_may_give(actor, role)


def delete_role(role: Role, actor: Actor) -> None:
    """Delete a role that nobody has.

    Raises:
        ConflictError: it is always there, or somebody has it.
        ForbiddenError: it allows more than the actor may do.
    """
    _assert_changeable(role)
    assert_may_give(actor, role)
    resources.assert_unused("role", {"users": User.emails_with(role, resources.SHOWN)})
    role.delete_instance()


def view(role: Role) -> RoleView:
    """A role as the API shows it."""
    return RoleView(
        id=role.id,
        name=role.name,
        description=role.description,
        admin=role.admin,
        permissions=role.permissions,
        built_in=role.name in BUILT_IN,
        created_at=role.created_at,
        updated_at=role.updated_at,
    )


def _assert_changeable(role: Role) -> None:
    if role.name in BUILT_IN:
        raise ConflictError(f"The role {role.name} is always there, as it is.", hint="Make one of your own.")
