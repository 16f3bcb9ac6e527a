"""Accounts as whoever has the service's database keeps them, on its command line: nobody's rights are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jotunheim.data.account import TokenSpec, TokenView, UserChange, UserSpec, UserView
from jotunheim.exceptions.model import from_pydantic
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import now, transaction
from jotunheim.services.accounts import tokens, users

Shape = TypeVar("Shape", bound=BaseModel)


def create_user(email: str, name: str, role: str, password: str | None) -> User:
    """Add a user.

    Raises:
        DataValidationError: e-mail address, name, role or password is none, or the password is easy to guess.
        UniquenessError: somebody has this e-mail address.
    """
    spec = _checked(UserSpec, {"email": email, "name": name, "role": role, "password": password or None})
    password_hash = users.hash_of(spec.password, spec)
    with transaction():
        return users.create_user(spec, password_hash, None)


def disable_user(email: str) -> UserView:
    """Disable a user; asked again, the first time stands. Raises as `users.find_by_email` and `users.change_user`."""
    with transaction():
        user = users.find_by_email(email)
        users.change_user(user, UserChange(disabled=True), None, None)
    return users.view(user)


def create_token(
    email: str,
    name: str,
    scopes: Sequence[str],
    lifetime_seconds: int | None,
    networks: Sequence[str] | None = None,
) -> tuple[TokenView, str]:
    """Give a user a token; returns it and its text, which is shown once and stored nowhere.

    Args:
        lifetime_seconds: None: it does not expire.
        networks: where it may be used from; None: from anywhere.

    Raises:
        DataValidationError: name, scopes, lifetime or networks are none.
        NotFoundError: nobody has this e-mail address.
        ConflictError: the user is disabled.
    """
    values = {
        "name": name,
        "scopes": list(scopes),
        "expires_in_seconds": lifetime_seconds,
        "networks": list(networks) if networks else None,
    }
    spec = _checked(TokenSpec, values)
    with transaction():
        token, text = tokens.create_token(users.find_by_email(email), spec, None)
    return tokens.view(token), text


def revoke_token(id_: int) -> TokenView:
    """Make a token invalid from the commit on. Raises NotFoundError."""
    with transaction():
        token = tokens.find(id_)
        token.revoke(now())
    return tokens.view(token)


def _checked(shape: type[Shape], values: Mapping[str, Any]) -> Shape:
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise from_pydantic(error) from None
