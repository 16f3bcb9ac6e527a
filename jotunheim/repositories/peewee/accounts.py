"""Users and their API tokens. A token is stored as a hash: it can be recognised, not read."""

import hashlib
from datetime import datetime, timedelta

from peewee import AutoField, CharField, ForeignKeyField, JSONField

from jotunheim.repositories.peewee.database import Table, UtcField, now

# `last_used_at` is written at most this often, so that reading does not mean writing.
LAST_USED_RESOLUTION = timedelta(minutes=1)


class User(Table):
    """A person or a program that may ask for things."""

    id = AutoField()
    email = CharField(unique=True)
    """Case-folded."""
    name = CharField()
    role = CharField(max_length=16)
    """`admin` or `client`."""
    password_hash = CharField(null=True)
    """argon2id; None: no password was set, so none is right."""
    disabled_at = UtcField(null=True)
    created_at = UtcField(default=now)

    @classmethod
    def exists(cls, id_: int) -> bool:
        """Whether there is a user with this id."""
        return bool(cls.select().where(cls.id == id_).exists())

    @classmethod
    def find(cls, email: str) -> "User | None":
        """The user with this e-mail address, which must be case-folded."""
        found: User | None = cls.get_or_none(cls.email == email)
        return found

    @classmethod
    def all(cls) -> "list[User]":
        """All users, the oldest first."""
        return list(cls.select().order_by(cls.id))

    def disable(self, at: datetime) -> None:
        """Note since when the user is disabled, unless they are already."""
        if self.disabled_at is None:
            self.disabled_at = at
            self.save(only=[User.disabled_at])


class Token(Table):
    """A bearer token of a user."""

    id = AutoField()
    user = ForeignKeyField(User, backref="tokens", on_delete="CASCADE")
    name = CharField()
    sha256 = CharField(max_length=64, unique=True)
    scopes = JSONField()
    """A list such as `["servers:read"]`, or `["*"]`."""
    expires_at = UtcField(null=True)
    last_used_at = UtcField(null=True)
    revoked_at = UtcField(null=True)
    created_at = UtcField(default=now)

    @classmethod
    def find_valid(cls, token: str, at: datetime) -> "Token | None":
        """The token with its user, unless it is unknown, revoked, expired, or its user is disabled."""
        found: Token | None = (
            cls.select(cls, User)
            .join(User)
            .where(
                (cls.sha256 == digest(token))
                & cls.revoked_at.is_null()
                & (cls.expires_at.is_null() | (cls.expires_at > at))
                & User.disabled_at.is_null()
            )
            .first()
        )
        return found

    @classmethod
    def find(cls, id_: int) -> "Token | None":
        """The token with its user."""
        found: Token | None = cls.select(cls, User).join(User).where(cls.id == id_).first()
        return found

    @classmethod
    def of(cls, user: User | None) -> "list[Token]":
        """The tokens of a user, or of all, with their users; the oldest first."""
        query = cls.select(cls, User).join(User)
        return list((query if user is None else query.where(cls.user == user)).order_by(cls.id))

    def revoke(self, at: datetime) -> None:
        """Note since when the token is revoked, unless it is already."""
        if self.revoked_at is None:
            self.revoked_at = at
            self.save(only=[Token.revoked_at])

    def mark_used(self, at: datetime) -> None:
        """Remember when the token was last used, to the minute."""
        if self.last_used_at is None or at - self.last_used_at > LAST_USED_RESOLUTION:
            Token.update(last_used_at=at).where(Token.id == self.id).execute()


def digest(token: str) -> str:
    """SHA-256 of a token, in hex. Tokens have 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
