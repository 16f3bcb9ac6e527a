"""Tokens: what programs, and people on the command line, authenticate with."""

import ipaddress
from datetime import datetime, timedelta

from jotunheim.data.account import TokenSpec, TokenView
from jotunheim.data.actor import Actor
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, ForbiddenError, ResourceLimitExceededError
from jotunheim.repositories.peewee.accounts import Token, User, digest
from jotunheim.repositories.peewee.database import now, serialize
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.services.accounts import credentials
from jotunheim.services.accounts.rights import assert_may_allow

MAX_TOKENS = 100
"""How many a user may have at once, by asking for them: each has a limit of its own for how often it is used."""
SORTABLE = {
    "id": Token.id,
    "name": Token.name,
    "created_at": Token.created_at,
    "expires_at": Token.expires_at,
    "last_used_at": Token.last_used_at,
}


def list_tokens(page: Page, user_id: int) -> Paged[TokenView]:
    """A page of a user's tokens; also expired and revoked ones."""
    rows, total = paginate(Token.matching(user_id), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def all_tokens(user: User | None) -> list[TokenView]:
    """All tokens, or those of one user, the oldest first; also expired and revoked ones."""
    return [view(token) for token in Token.matching(None if user is None else user.id).order_by(Token.id)]


def find(id_: int, user_id: int | None = None) -> Token:
    """A token. Raises NotFoundError: there is none, or it is somebody else's.

    Args:
        user_id: only a token of this user.
    """
    found: Token | None = Token.matching(user_id).where(Token.id == id_).first()
    if found is None:
        raise NotFoundError("token", id_)
    return found


def create_token(user: User, spec: TokenSpec, actor: Actor | None) -> tuple[Token, str]:
    """Give a user a token; returns it and its text, which is shown once and stored nowhere.

    Args:
        actor: whoever asks, for themselves; None: somebody with the service's own rights.

    Raises:
        ForbiddenError: it would allow more, from elsewhere or for longer than what it is asked for with.
        ConflictError: the user is disabled.
        ResourceLimitExceededError: the user has as many as a user may have.
    """
    if user.disabled_at is not None:
        raise ConflictError(f"User {user.email} is disabled.")
    lasts = spec.expires_in_seconds
    expires_at = None if lasts is None else now() + timedelta(seconds=lasts)
    if actor is not None:
        assert_may_allow(actor, spec.scopes)
        _assert_no_longer(actor, expires_at)
        _assert_from_nowhere_else(actor, spec.networks)
        serialize(f"tokens of {user.id}")
        if Token.count_of(user.id, now()) >= MAX_TOKENS:
            raise ResourceLimitExceededError(
                f"A user may have {MAX_TOKENS} tokens.", hint="Revoke one first."
            )
    return issue(user, spec.name, list(spec.scopes), expires_at, spec.networks)


def issue(
    user: User,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    networks: list[str] | None = None,
) -> tuple[Token, str]:
    """Store a new token; returns it and its text."""
    text = credentials.new(credentials.TOKEN_PREFIX)
    token: Token = Token.create(
        user=user, name=name, sha256=digest(text), scopes=scopes, expires_at=expires_at, networks=networks
    )
    return token, text


def may_be_used_from(networks: list[str] | tuple[str, ...] | None, address: str | None) -> bool:
    """Whether a token with these networks may be used from an address."""
    if networks is None:
        return True
    try:
        where = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return any(where in ipaddress.ip_network(network) for network in networks)


def view(token: Token) -> TokenView:
    """A token as it is shown."""
    return TokenView(
        id=token.id,
        user_id=token.user.id,
        email=token.user.email,
        name=token.name,
        scopes=token.scopes,
        networks=token.networks,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        last_used_address=token.last_used_address,
        revoked_at=token.revoked_at,
        created_at=token.created_at,
    )


def _assert_no_longer(actor: Actor, expires_at: datetime | None) -> None:
    own = actor.expires_at if actor.session_id is None else None  # a person can log in again
    if own is not None and (expires_at is None or expires_at > own):
        raise ForbiddenError("A token cannot make one that lasts longer than itself.")


def _assert_from_nowhere_else(actor: Actor, networks: list[str] | None) -> None:
    if actor.networks is None:
        return
    own = [ipaddress.ip_network(network) for network in actor.networks]
    wanted = [ipaddress.ip_network(network) for network in networks or ()]
    if not wanted or not all(
        any(net.version == mine.version and net.subnet_of(mine) for mine in own)  # type: ignore[arg-type]
        for net in wanted
    ):
        raise ForbiddenError("A token cannot make one that may be used from elsewhere than itself.")
