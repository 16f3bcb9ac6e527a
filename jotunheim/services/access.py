"""Accounts and API tokens: who somebody is, and what a token looks like.

A token is `jtn_`, 43 characters of randomness and 6 characters of checksum, so that secret scanners can
tell a real one from a lookalike without asking us.
"""

import re
import secrets
import zlib
from datetime import datetime
from string import ascii_letters, digits

from argon2 import PasswordHasher

from jotunheim.data.actor import Actor
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import UnauthorizedError
from jotunheim.repositories.peewee.accounts import Token, User, digest
from jotunheim.repositories.peewee.database import now, unique

# Whether mail arrives there is another question; this keeps mistakes and nonsense out.
_EMAIL = re.compile(r"[^@\s{}<>\"]+@[^@\s{}<>\"]+")
MAX_EMAIL = 254
TOKEN_PREFIX = "jtn_"  # noqa: S105 - a prefix, not a secret
RANDOM_CHARACTERS = 43  # 256 bits in base 62
CHECKSUM_CHARACTERS = 6
_ALPHABET = digits + ascii_letters


def create_user(email: str, name: str, role: str, password: str | None) -> User:
    """Add an account.

    Raises:
        DataValidationError: this is no e-mail address.
        UniquenessError: somebody has this e-mail address.
    """
    if len(email) > MAX_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise DataValidationError([FieldProblem("email", "must be an e-mail address")])
    password_hash = PasswordHasher().hash(password) if password else None
    with unique(f"There is a user {email} already."):
        user: User = User.create(email=email.casefold(), name=name, role=role, password_hash=password_hash)
    return user


def issue_token(user: User, name: str, scopes: list[str], expires_at: datetime | None = None) -> str:
    """Give a user a new token; the returned text is shown once and stored nowhere."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    token = TOKEN_PREFIX + random + _checksum(random)
    Token.create(user=user, name=name, sha256=digest(token), scopes=scopes, expires_at=expires_at)
    return token


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


def _checksum(random: str) -> str:
    number = zlib.crc32(random.encode())
    characters = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
