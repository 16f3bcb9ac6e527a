"""Users: adding, showing, changing, disabling. Operators change users who can do no more than they can themselves."""

from typing import Any

from pydantic import SecretStr

from jotunheim.data.account import ADMIN, OwnChange, UserChange, UserSpec, UserView
from jotunheim.data.actor import Actor
from jotunheim.data.fields import folded
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.accounts import Role, Token, User
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import now, serialize, unique, unused
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.sessions import LoginTicket, Session
from jotunheim.repositories.peewee.traffic import TrafficPeriod
from jotunheim.repositories.peewee.webhooks import Webhook
from jotunheim.services import resources
from jotunheim.services.accounts import passwords, second_factor
from jotunheim.services.accounts.rights import assert_may_give, assert_may_manage

FILTERS = {
    "email": lambda email: User.email == folded(email),
    "role": User.role,
    "disabled": lambda disabled: User.disabled_at.is_null(not disabled),
}
SORTABLE = {
    "id": User.id,
    "email": User.email,
    "name": User.name,
    "role": User.role,
    "created_at": User.created_at,
    "updated_at": User.updated_at,
}


def list_users(page: Page, wanted: dict[str, Any]) -> Paged[UserView]:
    """A page of the users that these filters let through."""
    rows, total = paginate(narrowed(User.select(), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def all_users() -> list[UserView]:
    """All users, the oldest first."""
    return [view(user) for user in User.all()]


def find(id_: int, if_match: str | None = None) -> User:
    """One user; raises as `resources.find`."""
    return resources.find(User, "user", id_, if_match)


def find_by_email(email: str) -> User:
    """One user. Raises NotFoundError."""
    user = User.find(folded(email))
    if user is None:
        raise NotFoundError("user", email)
    return user


def hash_of(password: SecretStr | None, whose: UserSpec | User) -> str | None:
    """The hash of a password that somebody shall have; None: they shall have none. It takes a while: call it outside of transactions.

    Raises:
        DataValidationError: the password is easy to guess.
    """
    if password is None:
        return None
    passwords.assert_good(password.get_secret_value(), (whose.email, whose.name))
    return passwords.hashed(password.get_secret_value())


def create_user(spec: UserSpec, password_hash: str | None, actor: Actor | None) -> User:
    """Add a user.

    Args:
        password_hash: from `hash_of`.
        actor: None: somebody with the service's own rights.

    Raises:
        DataValidationError: there is no such role.
        ForbiddenError: the role allows more than the actor may do.
        UniquenessError: somebody has this e-mail address.
    """
    _assert_role(spec.role, actor)
    with unique(f"There is a user {spec.email} already."):
        user: User = User.create(
            email=spec.email, name=spec.name, role=spec.role, password_hash=password_hash
        )
    return user


def change_user(user: User, change: UserChange, password_hash: str | None, actor: Actor | None) -> None:
    """Change a user. Another password or role, and being disabled, end all of their sessions; being disabled revokes their tokens, too.

    Args:
        password_hash: from `hash_of`.
        actor: as of `create_user`.

    Raises:
        DataValidationError: there is no such role.
        ForbiddenError: the user can do, or could then do, more than the actor.
        ConflictError: nobody could do everything any more.
        UniquenessError: somebody has this e-mail address.
    """
    if actor is not None:
        assert_may_manage(actor, user)
    columns = change.given()
    if "role" in columns:
        _assert_role(columns["role"], actor)
    if "password" in columns:
        columns.pop("password")
        columns["password_hash"] = password_hash
    if columns.pop("second_factor", None) is False and user.second_factor_at is not None:
        second_factor.disable(user)
    disabled = columns.pop("disabled", None)
    if disabled is not None and disabled != (user.disabled_at is not None):
        columns["disabled_at"] = now() if disabled else None
    if disabled or columns.get("role", ADMIN) != ADMIN:
        _assert_not_last(user)
    if columns:  # else, disabled again, the first time stands
        with unique(f"There is a user {change.email} already."):
            user.change(**columns)
    if disabled or {"password_hash", "role"} & columns.keys():
        Session.end_all(user.id)
        LoginTicket.void_all(user.id)
    if disabled:
        Token.revoke_all(user.id, now())


def change_own(user: User, change: OwnChange, password_hash: str | None, session_id: int | None) -> None:
    """Change one's own account. Another password ends all other sessions."""
    columns = change.given()
    columns.pop("current_password", None)
    if columns.pop("password", None) is not None:
        columns["password_hash"] = password_hash
        Session.end_all(user.id, but=session_id)
    user.change(**columns)


def delete_user(user: User, actor: Actor) -> None:
    """Delete a user with all that is only theirs.

    Raises:
        ForbiddenError: the user can do more than the actor.
        ConflictError, InUseError: servers or backups are theirs, or nobody could do everything any more.
    """
    assert_may_manage(actor, user)
    _assert_not_last(user)
    servers = Server.names_where(Server.owner == user, resources.SHOWN)
    backups = Backup.names_where(Backup.owner == user, resources.SHOWN)
    resources.assert_unused("user", {"servers": servers, "backups": backups})
    for reference in (user.code_reference, user.new_code_reference):
        Secret.erase(reference)
    Job.disown(user.id)
    Webhook.forget_all_of(user.id)
    TrafficPeriod.disown(user.id)
    with unused(f"Something is of user {user.email}."):
        user.delete_instance()


def view(user: User) -> UserView:
    """An account as it is shown."""
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        has_password=user.password_hash is not None,
        second_factor=user.second_factor_at is not None,
        disabled_at=user.disabled_at,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


def _assert_role(name: str, actor: Actor | None) -> None:
    role = Role.named(name, keep=True)
    if role is None:
        raise DataValidationError([FieldProblem("role", f"there is no role {name}")])
    if actor is not None:
        assert_may_give(actor, role)


def _assert_not_last(user: User) -> None:
    if user.role != ADMIN or user.disabled_at is not None:
        return
    serialize("administrators")  # two could disable each other
    if User.administrators() <= 1:
        raise ConflictError(
            f"{user.email} is the last one with the role {ADMIN}.", hint="Give it to somebody else first."
        )
