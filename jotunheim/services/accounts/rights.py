"""Who may give what to whom: nobody makes an account or a token that can do more than they can themselves."""

from collections.abc import Collection

from jotunheim.data.actor import Actor, holds
from jotunheim.exceptions.service import ForbiddenError
from jotunheim.repositories.peewee.accounts import Role, User


def assert_may_give(actor: Actor, role: Role) -> None:
    """Make sure that somebody may make users with a role, or change users who have it.

    Owners' roles open only what is the owners' own. A role of operators must allow no more than the actor may do.

    Raises:
        ForbiddenError: it allows more.
    """
    beyond = [scope for scope in role.permissions if role.admin and not actor.may(scope)]
    if beyond:
        raise ForbiddenError(f"The role {role.name} allows what you may not do: {', '.join(beyond)}.")


def assert_may_manage(actor: Actor, user: User) -> None:
    """The same for changing an account, or entering it. Raises ForbiddenError."""
    role = Role.named(user.role)
    if role is not None:  # else nobody with that account can do anything
        assert_may_give(actor, role)


def assert_may_allow(actor: Actor, scopes: Collection[str]) -> None:
    """Make sure that a token allows no more than what it is asked for with. Raises ForbiddenError."""
    beyond = [scope for scope in scopes if not holds(actor.scopes, scope)]
    if beyond:
        raise ForbiddenError(f"Your token does not have what this one shall have: {', '.join(beyond)}.")
