"""Logging in: password and code, or a ticket, become a session.

Whatever is wrong, the answer is the same, and takes as long: nobody learns who has an account.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from jotunheim.data.account import LoginRequest
from jotunheim.data.actor import Actor
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import ForbiddenError, UnauthorizedError
from jotunheim.repositories.peewee.accounts import Role, User, digest
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.sessions import LoginTicket, Session
from jotunheim.services.accounts import credentials, passwords, second_factor
from jotunheim.settings import Settings

TICKET_LASTS = timedelta(seconds=60)
_REFUSED = "E-mail address or password is wrong."
_MAX_USER_AGENT = 255


@dataclass(frozen=True)
class Caller:
    """Where a login comes from."""

    address: str | None
    user_agent: str | None
    session_id: int | None = None
    """The session that it had until now."""


@dataclass(frozen=True)
class Opened:
    """A session that begins. Its text is shown once and stored nowhere."""

    user: User
    session: Session
    text: str

    @property
    def csrf_token(self) -> str:
        """What pages send along with changes."""
        return credentials.csrf_of(self.text)


def check_password(request: LoginRequest) -> User:
    """Whose password it is. It takes a while: call it outside of transactions.

    Raises:
        UnauthorizedError: nobody's, or that of a disabled account.
    """
    user = User.find(request.email)
    password = request.password.get_secret_value()
    if not passwords.is_right(password, user.password_hash if user else None):
        raise UnauthorizedError(_REFUSED)
    if user is None or user.disabled_at is not None:
        raise UnauthorizedError(_REFUSED)
    kept = user.password_hash or ""
    if passwords.is_outdated(kept):
        stronger = passwords.hashed(password)
        User.update(password_hash=stronger).where(
            (User.id == user.id) & (User.password_hash == kept)
        ).execute()
        user.password_hash = stronger
    return user


def assert_same_person(user: User, password: str) -> None:
    """Make sure that whoever has a session knows the password, too.

    Raises:
        DataValidationError: they do not, or there is none.
    """
    if user.password_hash is None:
        raise DataValidationError(
            [
                FieldProblem(
                    "current_password", "the account has no password; PATCH /api/v1/auth/user sets one"
                )
            ]
        )
    if not passwords.is_right(password, user.password_hash):
        raise DataValidationError([FieldProblem("current_password", "is wrong")])


def log_in(user: User, code: str | None, caller: Caller, keyring: Keyring, settings: Settings) -> Opened:
    """Begin a session for somebody whose password was right.

    Raises:
        UnauthorizedError: a code is needed and was not given, is wrong, or was used before; or the account has changed meanwhile.
    """
    current = User.held(user.id)
    if current is None or current.password_hash != user.password_hash:
        raise UnauthorizedError(_REFUSED)
    if current.second_factor_at is not None:
        if code is None:
            raise UnauthorizedError(
                "A code of the second factor is needed.", details=[FieldProblem("code", "is required")]
            )
        if not second_factor.accept(current, code, keyring):
            raise UnauthorizedError("The code is of no use.", details=[second_factor.WRONG_CODE])
    return _open(current, caller, settings)


def make_ticket(user: User, actor: Actor) -> tuple[str, datetime]:
    """Let an owner log in once, within a minute; returns the ticket and when it ends.

    Operators log in themselves: the session would outlive the token that asks, be good from anywhere, and need no second factor.

    Raises:
        ForbiddenError: the user is an operator, or is disabled.
    """
    role = Role.named(user.role)
    if role is None or role.admin:
        raise ForbiddenError(f"User {user.email} is an operator. Tickets are for owners.")
    if user.disabled_at is not None:
        raise ForbiddenError(f"User {user.email} is disabled.")
    at = now()
    LoginTicket.forget_old(at)
    text = credentials.new(credentials.TICKET_PREFIX)
    LoginTicket.create(user=user, sha256=digest(text), made_by=actor.email, expires_at=at + TICKET_LASTS)
    return text, at + TICKET_LASTS


def log_in_with_ticket(ticket: str, caller: Caller, settings: Settings) -> Opened:
    """Begin a session with a ticket, which is used up.

    Raises:
        UnauthorizedError: it was used before, is too old, or never was one.
    """
    well_formed = credentials.is_well_formed(ticket, credentials.TICKET_PREFIX)
    user_id = LoginTicket.take(ticket, now()) if well_formed else None
    user = None if user_id is None else User.held(user_id)
    if user is None:
        raise UnauthorizedError("The ticket is unknown, used or expired.")
    return _open(user, caller, settings)


def _open(user: User, caller: Caller, settings: Settings) -> Opened:
    at = now()
    if caller.session_id is not None:
        # What somebody may have planted in the browser does not become this login.
        Session.delete().where(Session.id == caller.session_id).execute()
    Session.forget_ended(at, timedelta(seconds=settings.session_idle_seconds))
    text = credentials.new(credentials.SESSION_PREFIX)
    session: Session = Session.create(
        user=user,
        sha256=digest(text),
        address=caller.address,
        user_agent=(caller.user_agent or "")[:_MAX_USER_AGENT] or None,
        expires_at=at + timedelta(seconds=settings.session_seconds),
    )
    return Opened(user, session, text)
