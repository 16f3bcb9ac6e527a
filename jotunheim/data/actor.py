"""Who asks."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from jotunheim.data.account import ADMIN


@dataclass(frozen=True)
class Actor:
    """The user behind a request, what their role and their token allow, and the request's id for the records."""

    user_id: int
    email: str
    role: str
    """`admin` or `client`: which of the APIs is theirs."""
    scopes: frozenset[str]
    """What the token or session allows."""
    request_id: str
    permissions: frozenset[str] = frozenset({"*"})
    """What the user's role allows."""
    address: str | None = None
    """Where the request came from."""
    token_id: int | None = None
    session_id: int | None = None
    """A person's login; None: a token."""
    csrf_token: str | None = None
    """What goes with a session's cookie."""
    lacks_second_factor: bool = False
    """They must set one up before they may do anything else."""
    is_elsewhere: bool = False
    """The token may not be used from where the request came from."""
    expires_at: datetime | None = None
    """When the token or session ends by itself."""
    networks: tuple[str, ...] | None = None
    """Where the token may be used from; None: from anywhere."""

    @classmethod
    def of_service(cls, duty: str) -> "Actor":
        """The service itself, which asks because of one of its duties, e.g. `quota`."""
        id_ = f"{duty.replace(' ', '-')}-{uuid.uuid4()}"
        return cls(user_id=0, email=duty, role=ADMIN, scopes=frozenset(), request_id=id_)

    def may(self, scope: str) -> bool:
        """Whether role and token have this scope, e.g. `servers:write`."""
        return holds(self.permissions, scope) and holds(self.scopes, scope)


def holds(scopes: Collection[str], scope: str) -> bool:
    """Whether scopes contain one. `*` contains all, and is only in itself."""
    return "*" in scopes or scope in scopes
