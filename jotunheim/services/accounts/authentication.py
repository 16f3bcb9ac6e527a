"""Who is behind a request: its token or session, with what its user's role allows."""

from dataclasses import replace
from datetime import timedelta

from jotunheim.data.account import ADMIN, CLIENT
from jotunheim.data.actor import Actor
from jotunheim.exceptions.service import UnauthorizedError
from jotunheim.repositories.peewee.accounts import Token, User
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.sessions import Session
from jotunheim.services.accounts import credentials, tokens
from jotunheim.settings import Settings

_ENDED = "The token was revoked, or the session ended, while the request waited."
_UNKNOWN = "The token is missing, unknown, expired or revoked."


def of_bearer(text: str, request_id: str, address: str | None, settings: Settings) -> Actor:
    """Who holds this token, or the token of this session. Raises UnauthorizedError: nobody, or no longer."""
    if credentials.is_well_formed(text, credentials.SESSION_PREFIX):
        return replace(of_session(text, request_id, address, settings), csrf_token=None)
    well_formed = credentials.is_well_formed(text, credentials.TOKEN_PREFIX)
    found = Token.find_valid(text, now()) if well_formed else None
    if found is None:
        raise UnauthorizedError(_UNKNOWN)
    is_elsewhere = not tokens.may_be_used_from(found.networks, address)
    if not is_elsewhere:
        found.mark_used(now(), address)
    return Actor(
        user_id=found.user.id,
        email=found.user.email,
        role=_kind(found.user),
        scopes=frozenset(found.scopes),
        request_id=request_id,
        permissions=frozenset(found.user.granted.permissions),
        address=address,
        token_id=found.id,
        is_elsewhere=is_elsewhere,
        expires_at=found.expires_at,
        networks=None if found.networks is None else tuple(found.networks),
    )


def of_session(text: str, request_id: str, address: str | None, settings: Settings) -> Actor:
    """Who has logged in with this session. Raises UnauthorizedError: nobody, or no longer."""
    at = now()
    idle = timedelta(seconds=settings.session_idle_seconds)
    well_formed = credentials.is_well_formed(text, credentials.SESSION_PREFIX)
    found = Session.find_valid(text, at, idle) if well_formed else None
    if found is None:
        raise UnauthorizedError("The session is unknown or over. Log in again.")
    found.mark_used(at)
    return Actor(
        user_id=found.user.id,
        email=found.user.email,
        role=_kind(found.user),
        scopes=frozenset({"*"}),
        request_id=request_id,
        permissions=frozenset(found.user.granted.permissions),
        address=address,
        session_id=found.id,
        csrf_token=credentials.csrf_of(text),
        expires_at=found.expires_at,
        lacks_second_factor=_lacks_second_factor(found.user, settings),
    )


def renewed(actor: Actor, settings: Settings) -> Actor:
    """Somebody who was authenticated a while ago, with what they may do now.

    Raises:
        UnauthorizedError: the token or session has ended meanwhile.
    """
    at = now()
    found: Token | Session | None
    if actor.session_id is not None:
        idle = timedelta(seconds=settings.session_idle_seconds)
        found = Session.still_valid(actor.session_id, actor.user_id, at, idle)
    else:
        assert actor.token_id is not None
        found = Token.still_valid(actor.token_id, actor.user_id, at)
    if found is None:
        raise UnauthorizedError(_ENDED)
    return replace(
        actor,
        role=_kind(found.user),
        permissions=frozenset(found.user.granted.permissions),
        lacks_second_factor=actor.session_id is not None and _lacks_second_factor(found.user, settings),
    )


def _lacks_second_factor(user: User, settings: Settings) -> bool:
    return user.granted.admin and settings.admin_second_factor and user.second_factor_at is None


def _kind(user: User) -> str:
    """Whose API is open to a user."""
    return ADMIN if user.granted.admin else CLIENT
