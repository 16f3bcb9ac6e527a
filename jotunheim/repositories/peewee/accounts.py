"""Roles, users and their API tokens. A token is stored as a hash: it can be recognised, not read."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from peewee import AutoField, BigIntegerField, BooleanField, CharField, ForeignKeyField, JSONField

from jotunheim.data.account import ADMIN
from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, locking, now

# `last_used_at` is written at most this often, so that reading does not mean writing.
LAST_USED_RESOLUTION = timedelta(minutes=1)


class Role(Versioned, Table):
    """What users of one kind may do."""

    id = AutoField()
    name = CharField(max_length=32, unique=True)
    """Never changed: users and records refer to it."""
    description = CharField(default="")
    admin = BooleanField()
    """Whether the operators' API is theirs; else only their own servers."""
    permissions = JSONField()
    """Scopes that nobody with this role goes beyond, whatever their token says."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @classmethod
    def named(cls, name: str, *, keep: bool = False) -> "Role | None":
        """The role with this name.

        Args:
            keep: let nobody delete it until the transaction ends.
        """
        query = cls.select().where(cls.name == name)
        found: Role | None = (locking(query, cls, referable=True) if keep else query).first()
        return found


class User(Versioned, Table):
    """A person or a program that may ask for things."""

    id = AutoField()
    email = CharField(unique=True)
    """Folded, see `data.fields`."""
    name = CharField()
    role = CharField(max_length=32)
    """The name of a `Role`."""
    password_hash = CharField(null=True)
    """argon2id; None: no password was set, so none is right."""
    second_factor_at = UtcField(null=True)
    """Since when codes are asked for; their secret is the secret `user/<id>/totp`."""
    last_code_step = BigIntegerField(null=True)
    """The time step of the last code that was accepted; it and earlier ones are not accepted again."""
    disabled_at = UtcField(null=True)
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)
    granted: Role
    """Where a query says so: the role itself."""

    @classmethod
    def exists(cls, id_: int) -> bool:
        """Whether there is a user with this id."""
        return bool(cls.select().where(cls.id == id_).exists())

    @classmethod
    def find(cls, email: str) -> "User | None":
        """The user with this e-mail address, which must be folded."""
        found: User | None = cls.get_or_none(cls.email == email)
        return found

    @classmethod
    def all(cls) -> "list[User]":
        """All users, the oldest first."""
        return list(cls.select().order_by(cls.id))

    @classmethod
    def emails_with(cls, role: Role, limit: int) -> tuple[list[str], int]:
        """E-mail addresses of some users with a role, and how many there are."""
        query = cls.select(cls.email).where(cls.role == role.name).order_by(cls.email)
        return [user.email for user in query.limit(limit)], query.count()

    @classmethod
    def held(cls, id_: int) -> "User | None":
        """A user who is not disabled; nobody changes them until the transaction ends."""
        query = cls.select().where((cls.id == id_) & cls.disabled_at.is_null())
        found: User | None = locking(query, cls, referable=True).first()
        return found

    @classmethod
    def administrators(cls) -> int:
        """How many users may do everything and are not disabled."""
        return int(cls.select().where((cls.role == ADMIN) & cls.disabled_at.is_null()).count())

    @property
    def code_reference(self) -> str:
        """Name of the secret from which the second factor's codes are made."""
        return f"user/{self.id}/totp"

    @property
    def new_code_reference(self) -> str:
        """The same while it is set up."""
        return f"user/{self.id}/totp-new"

    def accept_code(self, step: int) -> bool:
        """Accept the code of a time step; False: it, or a later one, was accepted already."""
        fresh = User.last_code_step.is_null() | (User.last_code_step < step)
        return bool(User.update(last_code_step=step).where((User.id == self.id) & fresh).execute())


class Token(Table):
    """A bearer token of a user."""

    id = AutoField()
    user = ForeignKeyField(User, backref="tokens", on_delete="CASCADE")
    name = CharField()
    sha256 = CharField(max_length=64, unique=True)
    scopes = JSONField()
    """A list such as `["servers:read"]`, or `["*"]`."""
    networks = JSONField(null=True)
    """Where it may be used from, e.g. `["192.0.2.0/24"]`; None: from anywhere."""
    expires_at = UtcField(null=True)
    last_used_at = UtcField(null=True)
    last_used_address = CharField(max_length=64, null=True)
    revoked_at = UtcField(null=True)
    created_at = UtcField(default=now)

    @classmethod
    def find_valid(cls, token: str, at: datetime) -> "Token | None":
        """The token with its user and that one's role (`granted`), unless it is unknown, revoked, expired, or its user is disabled."""
        return cls._valid(cls.sha256 == digest(token), at)

    @classmethod
    def still_valid(cls, id_: int, user_id: int, at: datetime) -> "Token | None":
        """The same by its id, of a user."""
        return cls._valid((cls.id == id_) & (cls.user == user_id), at)

    @classmethod
    def _valid(cls, which: Any, at: datetime) -> "Token | None":
        found: Token | None = (
            cls.select(cls, User, Role)
            .join(User)
            .join(Role, on=(Role.name == User.role), attr="granted")
            .where(
                which
                & cls.revoked_at.is_null()
                & (cls.expires_at.is_null() | (cls.expires_at > at))
                & User.disabled_at.is_null()
            )
            .first()
        )
        return found

    @classmethod
    def matching(cls, user_id: int | None = None) -> Any:
        """A select of the tokens of a user, or of all, with their users."""
        query = cls.select(cls, User).join(User)
        return query if user_id is None else query.where(cls.user == user_id)

    @classmethod
    def count_of(cls, user_id: int, at: datetime) -> int:
        """How many tokens a user has that are neither revoked nor expired."""
        lasting = cls.expires_at.is_null() | (cls.expires_at > at)
        return int(cls.select().where((cls.user == user_id) & cls.revoked_at.is_null() & lasting).count())

    @classmethod
    def revoke_all(cls, user_id: int, at: datetime) -> None:
        """Revoke a user's tokens; those that were revoked before stay as they are."""
        cls.update(revoked_at=at).where((cls.user == user_id) & cls.revoked_at.is_null()).execute()

    def revoke(self, at: datetime) -> None:
        """Note since when the token is revoked, unless it is already."""
        if self.revoked_at is None:
            self.revoked_at = at
            self.save(only=[Token.revoked_at])

    def mark_used(self, at: datetime, address: str | None) -> None:
        """Remember when and from where the token was last used, to the minute."""
        if self.last_used_at is None or at - self.last_used_at > LAST_USED_RESOLUTION:
            Token.update(last_used_at=at, last_used_address=address).where(Token.id == self.id).execute()


def digest(token: str) -> str:
    """SHA-256 of a token, in hex. Tokens have 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
