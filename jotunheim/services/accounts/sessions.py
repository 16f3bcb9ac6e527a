"""Sessions of one user: showing and ending them."""

from datetime import timedelta
from typing import Any

from jotunheim.data.account import SessionView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.paging import paginate
from jotunheim.repositories.peewee.sessions import Session
from jotunheim.settings import Settings

SORTABLE = {
    "id": Session.id,
    "created_at": Session.created_at,
    "last_used_at": Session.last_used_at,
    "expires_at": Session.expires_at,
}


def list_sessions(page: Page, user_id: int, current: int | None, settings: Settings) -> Paged[SessionView]:
    """A page of a user's sessions.

    Args:
        current: id of the one that asks.
    """
    rows, total = paginate(_lasting(user_id, settings), page, SORTABLE)
    return Paged([view(row, current) for row in rows], page, total)


def find(id_: int, user_id: int, settings: Settings) -> Session:
    """A session of a user. Raises NotFoundError: it has ended, never was, or is somebody else's."""
    found: Session | None = _lasting(user_id, settings).where(Session.id == id_).first()
    if found is None:
        raise NotFoundError("session", id_)
    return found


def view(session: Session, current: int | None) -> SessionView:
    """A session as it is shown."""
    return SessionView(
        id=session.id,
        address=session.address,
        user_agent=session.user_agent,
        current=session.id == current,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
    )


def _lasting(user_id: int, settings: Settings) -> Any:
    return Session.of(user_id, now(), timedelta(seconds=settings.session_idle_seconds))
