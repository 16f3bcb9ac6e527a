"""Sessions of people who logged in, tickets that log somebody in once, and recovery codes. All are stored as hashes."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from peewee import AutoField, CharField, ForeignKeyField

from jotunheim.repositories.peewee.accounts import LAST_USED_RESOLUTION, Role, User, digest
from jotunheim.repositories.peewee.database import Table, UtcField, now


class Session(Table):
    """A login that has not ended. One that has ended has no row."""

    id = AutoField()
    user = ForeignKeyField(User, backref="sessions", on_delete="CASCADE")
    sha256 = CharField(max_length=64, unique=True)
    address = CharField(max_length=64, null=True)
    user_agent = CharField(null=True)
    created_at = UtcField(default=now)
    last_used_at = UtcField(default=now)
    expires_at = UtcField(index=True)
    """However much it is used."""

    @classmethod
    def find_valid(cls, text: str, at: datetime, idle: timedelta) -> "Session | None":
        """The session with its user and that one's role, unless it is unknown, over, unused for too long, or its user is disabled."""
        return cls._valid(cls.sha256 == digest(text), at, idle)

    @classmethod
    def still_valid(cls, id_: int, user_id: int, at: datetime, idle: timedelta) -> "Session | None":
        """The same by its id, of a user: databases give ids of rows that are gone to others."""
        return cls._valid((cls.id == id_) & (cls.user == user_id), at, idle)

    @classmethod
    def _valid(cls, which: Any, at: datetime, idle: timedelta) -> "Session | None":
        lasts = (cls.expires_at > at) & (cls.last_used_at > at - idle)
        found: Session | None = (
            cls.select(cls, User, Role)
            .join(User)
            .join(Role, on=(Role.name == User.role), attr="granted")
            .where(which & lasts & User.disabled_at.is_null())
            .first()
        )
        return found

    @classmethod
    def of(cls, user_id: int, at: datetime, idle: timedelta) -> Any:
        """A select of a user's sessions that last."""
        return cls.select().where(
            (cls.user == user_id) & (cls.expires_at > at) & (cls.last_used_at > at - idle)
        )

    @classmethod
    def end_all(cls, user_id: int, but: int | None = None) -> int:
        """End a user's sessions; returns how many.

        Args:
            but: id of one that goes on.
        """
        query = cls.delete().where(cls.user == user_id)
        return int((query if but is None else query.where(cls.id != but)).execute())

    @classmethod
    def forget_ended(cls, at: datetime, idle: timedelta) -> int:
        """Delete the rows of sessions that are over; returns how many."""
        return int(cls.delete().where((cls.expires_at <= at) | (cls.last_used_at <= at - idle)).execute())

    def mark_used(self, at: datetime) -> None:
        """Remember when the session was last used, to the minute."""
        if at - self.last_used_at > LAST_USED_RESOLUTION:
            Session.update(last_used_at=at).where(Session.id == self.id).execute()

    def end(self) -> None:
        """Log out."""
        self.delete_instance()


class LoginTicket(Table):
    """Lets somebody log in as a user, once and soon."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    user_id: int
    sha256 = CharField(max_length=64, unique=True)
    made_by = CharField()
    """The e-mail address of who asked for it."""
    expires_at = UtcField(index=True)

    @classmethod
    def take(cls, text: str, at: datetime) -> int | None:
        """Id of the user of a ticket, which is used up; None: it was before, is too old, or never was one."""
        ticket: LoginTicket | None = cls.get_or_none((cls.sha256 == digest(text)) & (cls.expires_at > at))
        if ticket is None or not cls.delete().where(cls.id == ticket.id).execute():
            return None
        return ticket.user_id

    @classmethod
    def void_all(cls, user_id: int) -> None:
        """Let nobody log in with the tickets of a user."""
        cls.delete().where(cls.user == user_id).execute()

    @classmethod
    def forget_old(cls, at: datetime) -> int:
        """Delete tickets that nobody can use any more; returns how many."""
        return int(cls.delete().where(cls.expires_at <= at).execute())


class RecoveryCode(Table):
    """Takes the place of one code of the second factor."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    sha256 = CharField(max_length=64, unique=True)

    @classmethod
    def replace_all(cls, user_id: int, codes: Iterable[str]) -> None:
        """A user's codes from now on."""
        cls.delete().where(cls.user == user_id).execute()
        for code in codes:
            cls.create(user=user_id, sha256=_digest(user_id, code))

    @classmethod
    def take(cls, user_id: int, code: str) -> bool:
        """Use a code up; False: there is none such."""
        return bool(
            cls.delete().where((cls.user == user_id) & (cls.sha256 == _digest(user_id, code))).execute()
        )


def _digest(user_id: int, code: str) -> str:
    # Codes have 79 random bits; the user's id keeps those of two users apart.
    return digest(f"{user_id}:{code}")
