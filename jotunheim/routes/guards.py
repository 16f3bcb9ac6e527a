"""Who asks, whether they may, and what they are not told."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.service import ForbiddenError, NodeUnavailableError, UnauthorizedError
from jotunheim.routes.address import client_address
from jotunheim.routes.call import Context
from jotunheim.services.accounts import authentication, credentials
from jotunheim.services.throttle import address_key
from jotunheim.settings import Settings

SESSION_COOKIE = "jotunheim_session"
CSRF_HEADER = "X-CSRF-Token"
_READS = ("GET", "HEAD")
_ELSEWHERE = ("cross-site", "same-site")


@dataclass(frozen=True)
class Access:
    """Who may ask for an operation."""

    role: str | None
    """`admin`, `client` (an administrator may own servers too), or None: everybody who has proved who they are."""
    scope: str | None
    """What their role and token must have, e.g. `servers:write`; None: nothing."""
    public: bool = False
    """Everybody, also without a token."""
    person: bool = False
    """Only people who logged in: a token may not."""
    before_second_factor: bool = False
    """Also those who must set up a second factor and have not."""


def authorize(request: Request, access: Access) -> Actor:
    """The holder of the request's token or session, when they may ask for this.

    Raises:
        UnauthorizedError: there is no valid token or session.
        RateLimitExceededError: it was used too often, or its address was wrong too often.
        ForbiddenError: they may not.
    """
    context: Context = request.app.state.context
    if access.public:
        return _anonymous(request, context)
    actor = _authenticate(request, context)
    request.state.actor = actor  # the audit log wants to know who was refused
    _assert_allowed(actor, access)
    return actor


def authorize_again(actor: Actor, access: Access, settings: Settings) -> Actor:
    """Whoever was authorized before the request had to wait, when they may still ask for this. Raises as `authorize`."""
    if access.public:
        return actor
    current = authentication.renewed(actor, settings)
    _assert_allowed(current, access)
    return current


def _assert_allowed(actor: Actor, access: Access) -> None:
    if actor.is_elsewhere:
        raise ForbiddenError("The token may not be used from this address.")
    if access.person and actor.session_id is None:
        raise ForbiddenError("Only people who logged in may do this, no tokens.")
    if actor.lacks_second_factor and not access.before_second_factor:
        raise ForbiddenError(
            "A second factor is needed first.",
            details=[FieldProblem("second_factor", "is required of operators")],
            hint="POST /api/v1/auth/2fa/setup.",
        )
    if access.role is not None and actor.role not in (access.role, ADMIN):
        raise ForbiddenError(f"Only users with the role {access.role} may do this.")
    if access.scope is not None and not actor.may(access.scope):
        raise ForbiddenError(f"The token lacks the scope {access.scope}, or your role does.")


def _authenticate(request: Request, context: Context) -> Actor:
    request_id, address = request.state.request_id, client_address(request)
    given, cookie = request.headers.get("authorization"), request.cookies.get(SESSION_COOKIE)
    by_cookie = given is None and bool(cookie)
    credential = cookie or "" if by_cookie else _bearer(given or "")
    find = authentication.of_session if by_cookie else authentication.of_bearer
    with context.throttle.guessing(address, credential):
        actor = find(credential, request_id, address, context.settings)
    if actor.is_elsewhere:
        # It counts as a wrong one: whoever has stolen it uses up nothing of what its owner may ask.
        context.throttle.hit("failure", address_key(address))
        return actor
    standing = context.throttle.count("token", credential)
    if standing is not None:
        request.state.standing = standing  # the middleware tells it in the answer's headers
        standing.assert_within()
    if by_cookie and request.method not in _READS:
        _assert_own_page(request, credential)
    return actor


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthorizedError("Give a token: Authorization: Bearer jtn_…")
    return token.strip()


def _assert_own_page(request: Request, session: str) -> None:
    """Make sure that a change was not sent by another site's page, with the cookie that browsers add by themselves."""
    _assert_not_from_elsewhere(request)
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), credentials.csrf_of(session).encode()):
        raise ForbiddenError(
            f"A change with the session's cookie needs the header {CSRF_HEADER}.",
            details=[FieldProblem(CSRF_HEADER, "is missing or wrong")],
            hint="Logging in answers it, and GET /api/v1/auth/session.",
        )


def _assert_not_from_elsewhere(request: Request) -> None:
    """Make sure that no page of another site asks, as far as browsers tell.

    Over plain HTTP, and the old ones anyway, they tell no more than the page's origin.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = request.headers.get("host", "").lower()
    if site in _ELSEWHERE or (site is None and origin is not None and origin.partition("://")[2] != own):
        raise ForbiddenError("Pages of other sites may not do this.")


def _anonymous(request: Request, context: Context) -> Actor:
    """Whoever asks, with the session that their browser had until now."""
    _assert_not_from_elsewhere(request)  # else another site could log a browser in, as somebody else
    session_id = None
    session = request.cookies.get(SESSION_COOKIE)
    if session:
        try:
            session_id = authentication.of_session(session, "", None, context.settings).session_id
        except UnauthorizedError:
            session_id = None
    return Actor(
        user_id=0,
        email="",
        role="",
        scopes=frozenset(),
        request_id=request.state.request_id,
        permissions=frozenset(),
        address=client_address(request),
        session_id=session_id,
    )


@contextmanager
def unnamed_nodes(for_owners: bool) -> Iterator[None]:
    """Leave out of an error what owners are not told of: which node it was."""
    try:
        yield
    except NodeUnavailableError:
        if not for_owners:
            raise
        raise NodeUnavailableError("The hypervisor does not answer.") from None
