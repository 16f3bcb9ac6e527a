"""The envelopes of answers about accounts; as those of `answers`."""

from datetime import datetime

from jotunheim.data.account import RoleView, SecondFactorSetup, SessionView, TokenView, UserView
from jotunheim.data.answers import Meta
from jotunheim.data.fields import View


class RoleAnswer(View):
    """One role."""

    role: RoleView


class RoleList(View):
    """A page of roles."""

    roles: list[RoleView]
    meta: Meta


class UserAnswer(View):
    """One user."""

    user: UserView


class UserList(View):
    """A page of users."""

    users: list[UserView]
    meta: Meta


class OwnAnswer(View):
    """Whoever asks, and what they may do."""

    user: UserView
    permissions: list[str]
    """What role and token allow."""


class LoginAnswer(View):
    """A session that begins."""

    user: UserView
    token: str
    """For `Authorization: Bearer`; shown once. Browsers have the same session as a cookie."""
    csrf_token: str
    """For the header `X-CSRF-Token` of changes with the cookie."""
    expires_at: datetime


class SessionAnswer(View):
    """One session."""

    session: SessionView


class OwnSessionAnswer(View):
    """The session that asks."""

    session: SessionView
    csrf_token: str | None
    """As of `LoginAnswer`; null: the session was given as a token, and needs none."""


class SessionList(View):
    """A page of sessions."""

    sessions: list[SessionView]
    meta: Meta


class TokenAnswer(View):
    """One token."""

    token: TokenView


class NewTokenAnswer(View):
    """A token that was made."""

    token: TokenView
    secret: str
    """The token itself; shown once."""


class TokenList(View):
    """A page of tokens."""

    tokens: list[TokenView]
    meta: Meta


class TicketAnswer(View):
    """A login ticket."""

    ticket: str
    """For `POST /auth/sso/login`, once."""
    user: UserView
    expires_at: datetime


class SecondFactorAnswer(View):
    """A second factor that is being set up."""

    second_factor: SecondFactorSetup


class RecoveryCodesAnswer(View):
    """Recovery codes; shown once."""

    recovery_codes: list[str]
