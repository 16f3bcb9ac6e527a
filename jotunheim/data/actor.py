"""Who asks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """The user behind a request, what their token allows, and the request's id for the records."""

    user_id: int
    email: str
    role: str
    scopes: frozenset[str]
    request_id: str

    def may(self, scope: str) -> bool:
        """Whether the token has this scope, e.g. `servers:write`."""
        return "*" in self.scopes or scope in self.scopes
