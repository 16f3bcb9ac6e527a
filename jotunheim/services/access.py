"""Accounts and API tokens: who somebody is, and what a token looks like.

A token is `jtn_`, 43 characters of randomness and 6 characters of checksum, so that secret scanners can
tell a real one from a lookalike without asking us.
"""

import re
import secrets
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from string import ascii_letters, digits

from argon2 import PasswordHasher

from jotunheim.data.account import TokenView, UserView
from jotunheim.data.actor import Actor
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, UnauthorizedError
from jotunheim.repositories.peewee.accounts import Token, User, digest
from jotunheim.repositories.peewee.database import now, transaction, unique

# Whether mail arrives there is another question; this keeps mistakes and nonsense out.
_EMAIL = re.compile(r"[^@\s{}<>\"]+@[^@\s{}<>\"]+")
MAX_EMAIL = 254
MAX_NAME = 255
MAX_LIFETIME_SECONDS = 10 * 366 * 86_400
ROLES = ("admin", "client")
SCOPES = ("servers:read", "servers:write", "nodes:read", "nodes:write", "*")
TOKEN_PREFIX = "jtn_"  # noqa: S105 - a prefix, not a secret
RANDOM_CHARACTERS = 43  # 256 bits in base 62
CHECKSUM_CHARACTERS = 6
_ALPHABET = digits + ascii_letters


def create_user(email: str, name: str, role: str, password: str | None) -> User:
    """Add an account.

    Raises:
        DataValidationError: this is no e-mail address, no name or no role.
        UniquenessError: somebody has this e-mail address.
    """
    problems = _name_problems(name)
    if len(email) > MAX_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        problems.append(FieldProblem("email", "must be an e-mail address"))
    if role not in ROLES:
        problems.append(FieldProblem("role", f"must be one of {', '.join(ROLES)}"))
    if problems:
        raise DataValidationError(problems)
    password_hash = PasswordHasher().hash(password) if password else None
    with unique(f"There is a user {email} already."):
        user: User = User.create(email=email.casefold(), name=name, role=role, password_hash=password_hash)
    return user


def list_users() -> list[UserView]:
    """All accounts, the oldest first."""
    return [view_of(user) for user in User.all()]


def disable_user(email: str) -> UserView:
    """Disable an account; from the commit on none of its tokens is valid. Asked again, the first time stands.

    Raises:
        NotFoundError: nobody has this e-mail address.
    """
    with transaction():
        user = _find_user(email)
        user.disable(now())
    return view_of(user)


def create_token(
    email: str, name: str, scopes: Sequence[str], lifetime_seconds: int | None
) -> tuple[TokenView, str]:
    """Give a user a new token; returns it and its text, which is shown once and stored nowhere.

    Args:
        lifetime_seconds: None: it does not expire.

    Raises:
        DataValidationError: a scope is unknown, or there is none; the name or the lifetime is none.
        NotFoundError: nobody has this e-mail address.
        ConflictError: the user is disabled.
    """
    problems = _name_problems(name)
    if not scopes:
        problems.append(FieldProblem("scopes", "must name at least one scope"))
    problems += [
        FieldProblem(f"scopes.{index}", f"must be one of {', '.join(SCOPES)}")
        for index, scope in enumerate(scopes)
        if scope not in SCOPES
    ]
    if lifetime_seconds is not None and not 1 <= lifetime_seconds <= MAX_LIFETIME_SECONDS:
        problems.append(
            FieldProblem("expires_in_seconds", f"must be 1 to {MAX_LIFETIME_SECONDS} seconds (ten years)")
        )
    if problems:
        raise DataValidationError(problems)
    expires_at = None if lifetime_seconds is None else now() + timedelta(seconds=lifetime_seconds)
    with transaction():
        user = _find_user(email)
        if user.disabled_at is not None:
            raise ConflictError(f"User {user.email} is disabled.")
        token, text = _new_token(user, name, list(dict.fromkeys(scopes)), expires_at)
    return _token_view(token), text


def list_tokens(email: str | None = None) -> list[TokenView]:
    """All tokens or those of one user, the oldest first; also expired and revoked ones.

    Raises:
        NotFoundError: nobody has this e-mail address.
    """
    return [_token_view(token) for token in Token.of(_find_user(email) if email is not None else None)]


def revoke_token(id_: int) -> TokenView:
    """Make a token invalid from the commit on. Asked again, the first time stands.

    Raises:
        NotFoundError: there is none.
    """
    with transaction():
        token = Token.find(id_)
        if token is None:
            raise NotFoundError("token", id_)
        token.revoke(now())
    return _token_view(token)


def issue_token(user: User, name: str, scopes: list[str], expires_at: datetime | None = None) -> str:
    """Give a user a new token; the returned text is shown once and stored nowhere."""
    return _new_token(user, name, scopes, expires_at)[1]


def authenticate(token: str, request_id: str) -> Actor:
    """Who holds this token.

    Raises:
        UnauthorizedError: nobody, or no longer.
    """
    found = Token.find_valid(token, now()) if is_well_formed(token) else None
    if found is None:
        raise UnauthorizedError("The token is missing, unknown, expired or revoked.")
    found.mark_used(now())
    return Actor(
        user_id=found.user.id,
        email=found.user.email,
        role=found.user.role,
        scopes=frozenset(found.scopes),
        request_id=request_id,
    )


def is_well_formed(token: str) -> bool:
    """Whether a text is a token by prefix, length and checksum; asks nothing of the store."""
    body = token.removeprefix(TOKEN_PREFIX)
    random, checksum = body[:RANDOM_CHARACTERS], body[RANDOM_CHARACTERS:]
    return token.startswith(TOKEN_PREFIX) and token.isascii() and checksum == _checksum(random)


def view_of(user: User) -> UserView:
    """An account as it is shown."""
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        disabled_at=user.disabled_at,
        created_at=user.created_at,
    )


def _token_view(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        user_id=token.user.id,
        email=token.user.email,
        name=token.name,
        scopes=token.scopes,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
        created_at=token.created_at,
    )


def _find_user(email: str) -> User:
    user = User.find(email.casefold())
    if user is None:
        raise NotFoundError("user", email)
    return user


def _name_problems(name: str) -> list[FieldProblem]:
    if name.strip() and name.isprintable() and len(name) <= MAX_NAME:
        return []
    return [FieldProblem("name", f"must be 1 to {MAX_NAME} printable characters")]


def _new_token(user: User, name: str, scopes: list[str], expires_at: datetime | None) -> tuple[Token, str]:
    random = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    text = TOKEN_PREFIX + random + _checksum(random)
    token: Token = Token.create(
        user=user, name=name, sha256=digest(text), scopes=scopes, expires_at=expires_at
    )
    return token, text


def _checksum(random: str) -> str:
    number = zlib.crc32(random.encode())
    characters = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
