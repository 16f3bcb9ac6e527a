"""Who asks, whether they may, and what they are not told."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from jotunheim.data.account import ADMIN
from jotunheim.data.actor import Actor
from jotunheim.exceptions.service import ForbiddenError, NodeUnavailableError, UnauthorizedError
from jotunheim.routes.address import client_address
from jotunheim.services.access import authenticate
from jotunheim.services.throttle import Throttle


def authorize(request: Request, scope: str, role: str) -> Actor:
    """The holder of the request's bearer token, when they have the role and the token has the scope.

    Raises:
        UnauthorizedError: there is no valid token.
        RateLimitExceededError: the token was used too often, or its address was wrong too often.
        ForbiddenError: role or scope is missing.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthorizedError("Give a token: Authorization: Bearer jtn_…")
    credential = token.strip()
    throttle: Throttle = request.app.state.context.throttle
    with throttle.guessing(client_address(request), credential):
        actor = authenticate(credential, request.state.request_id)
    standing = throttle.count("token", credential)
    if standing is not None:
        request.state.standing = standing  # the middleware tells it in the answer's headers
        standing.assert_within()
    if actor.role not in (role, ADMIN):  # an administrator may own servers too
        raise ForbiddenError(f"Only users with the role {role} may do this.")
    if not actor.may(scope):
        raise ForbiddenError(f"The token lacks the scope {scope}.")
    return actor


@contextmanager
def unnamed_nodes(for_owners: bool) -> Iterator[None]:
    """Leave out of an error what owners are not told of: which node it was."""
    try:
        yield
    except NodeUnavailableError:
        if not for_owners:
            raise
        raise NodeUnavailableError("The hypervisor does not answer.") from None
