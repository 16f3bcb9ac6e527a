"""Accounts, roles, tokens and logins: what is sent, and what is shown. A password or a token is never shown again."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from jotunheim.data.fields import Change, Email, Networks, Shape, ShortText, SomeEmail, View

ADMIN = "admin"
"""The role of operators who may do everything, and what is said of every role whose users are operators."""
CLIENT = "client"
"""The role of owners, as above."""
MAX_LIFETIME_SECONDS = 10 * 366 * 86_400

Scope = Literal[
    "servers:read",
    "servers:write",
    "nodes:read",
    "nodes:write",
    "users:read",
    "users:write",
    "tokens:read",
    "tokens:write",
    "audit:read",
    "webhooks:read",
    "webhooks:write",
    "*",
]
"""A resource and a verb; `*` is all of them."""


def _distinct(scopes: list[Scope]) -> list[Scope]:
    return list(dict.fromkeys(scopes))


Scopes = Annotated[list[Scope], Field(min_length=1, max_length=64), AfterValidator(_distinct)]
RoleName = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9_-]*$")]
Password = Annotated[SecretStr, Field(max_length=256)]
Lifetime = Annotated[int, Field(ge=1, le=MAX_LIFETIME_SECONDS)]
Code = Annotated[str, Field(max_length=64)]
"""Six digits of the second factor, or a recovery code."""


class RoleSpec(Shape):
    """A kind of users."""

    name: RoleName
    description: Annotated[str, Field(max_length=255)] = ""
    admin: bool = True
    """Whether they are operators; else only their own servers are theirs."""
    permissions: Scopes
    """Nobody with this role goes beyond them."""


class RoleChange(Change):
    """A change of a role; its name and whose API it opens stay."""

    description: Annotated[str, Field(max_length=255)] | None = None
    permissions: Scopes | None = None


class RoleView(View):
    """A kind of users."""

    id: int
    name: str
    description: str
    admin: bool
    permissions: list[str]
    built_in: bool
    """It cannot be changed or deleted."""
    created_at: datetime
    updated_at: datetime


class UserSpec(Shape):
    """A new account."""

    email: Email
    name: ShortText
    role: RoleName = CLIENT
    password: Password | None = None
    """Without one only tokens and login tickets let them in."""


class UserChange(Change):
    """A change of an account."""

    NULLABLE = frozenset({"password"})

    email: Email | None = None
    name: ShortText | None = None
    role: RoleName | None = None
    password: Password | None = None
    """null takes it away."""
    disabled: bool | None = None
    """True ends their sessions and revokes their tokens, for good."""
    second_factor: Literal[False] | None = None
    """False: logins ask for no code any more, for somebody who has lost theirs."""


class OwnChange(Change):
    """What people change of their own account."""

    name: ShortText | None = None
    password: Password | None = None
    """Ends all other sessions."""
    current_password: Password | None = None
    """Needed for another password."""


class UserView(View):
    """An account."""

    id: int
    email: str
    name: str
    role: str
    has_password: bool
    second_factor: bool
    """Whether a login asks for a code."""
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class TokenSpec(Shape):
    """A new token. It allows no more, from nowhere else and no longer than what it is asked for with."""

    name: ShortText
    scopes: Scopes
    expires_in_seconds: Lifetime | None = None
    """None: it does not expire by itself."""
    networks: Networks | None = None
    """Where it may be used from, e.g. `["192.0.2.0/24"]`; null: from anywhere."""


class TokenView(View):
    """A token of an account."""

    id: int
    user_id: int
    email: str
    name: str
    scopes: list[str]
    networks: list[str] | None
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str | None
    revoked_at: datetime | None
    created_at: datetime


class LoginRequest(Shape):
    """A person who logs in."""

    email: SomeEmail
    password: Password
    code: Code | None = None
    """Needed where the account has a second factor."""


class TicketRequest(Shape):
    """Who shall be let in once."""

    user_id: Annotated[int, Field(gt=0, le=2**31 - 1)] | None = None
    email: SomeEmail | None = None
    """In place of `user_id`."""


class TicketLogin(Shape):
    """Logging in with a ticket."""

    ticket: Annotated[SecretStr, Field(max_length=128)]


class PasswordAgain(Shape):
    """Proof that it is still the same person."""

    current_password: Password


class CodeRequest(Shape):
    """A code of the second factor."""

    code: Code


class PasswordAndCode(Shape):
    """Proof of both factors."""

    current_password: Password
    code: Code


class SessionView(View):
    """A login that has not ended."""

    id: int
    address: str | None
    user_agent: str | None
    current: bool
    """Whether it is the one that asks."""
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class SecondFactorSetup(View):
    """What an authenticator app needs."""

    secret: str
    """Base32."""
    uri: str
    """`otpauth://totp/…`."""
    qr_svg: str
    """The same as a QR code: an SVG image as a data URI."""
