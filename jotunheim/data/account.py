"""What is shown of accounts and their tokens; never a password or a token itself."""

from datetime import datetime

from jotunheim.data.fields import View

ADMIN = "admin"
"""The role of operators."""


class UserView(View):
    """An account."""

    id: int
    email: str
    name: str
    role: str
    disabled_at: datetime | None
    created_at: datetime


class TokenView(View):
    """A token of an account."""

    id: int
    user_id: int
    email: str
    name: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
