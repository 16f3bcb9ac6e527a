"""Who asks, and whether they may."""

from starlette.requests import Request

from jotunheim.data.actor import Actor
from jotunheim.exceptions.service import ForbiddenError, UnauthorizedError
from jotunheim.services.access import authenticate


def authorize(request: Request, scope: str) -> Actor:
    """The holder of the request's bearer token, when the token has the scope.

    Raises:
        UnauthorizedError: there is no valid token.
        ForbiddenError: the token lacks the scope, or an admin route was asked by somebody else.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthorizedError("Give a token: Authorization: Bearer jtn_…")
    actor = authenticate(token.strip(), request.state.request_id)
    if "/admin/" in request.url.path and actor.role != "admin":
        raise ForbiddenError("Only administrators may use the admin API.")
    if not actor.may(scope):
        raise ForbiddenError(f"The token lacks the scope {scope}.")
    return actor
