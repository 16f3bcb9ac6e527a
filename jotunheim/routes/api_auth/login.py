"""Logging in and out, and tickets with which billing systems let their customers in."""

from typing import Any

from jotunheim.data.account import ADMIN, LoginRequest, TicketLogin, TicketRequest
from jotunheim.data.account_answers import LoginAnswer, SessionAnswer, TicketAnswer
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.peewee.accounts import User
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.guards import SESSION_COOKIE, Access
from jotunheim.routes.operations import Operations
from jotunheim.services.accounts import login, sessions, users
from jotunheim.services.accounts.login import Caller, Opened
from jotunheim.services.throttle import address_key
from jotunheim.settings import Settings

operations = Operations("/auth", role=None)
_PUBLIC = Access(role=None, scope=None, public=True)
_PERSON = Access(role=None, scope=None, person=True, before_second_factor=True)


def _check_password(call: Call[LoginRequest, NoQuery]) -> User:
    throttle = call.context.throttle
    throttle.hit("login_address", address_key(call.actor.address))
    throttle.hit("login_account", call.body.email)
    return login.check_password(call.body)


@operations.post(
    "/login", body=LoginRequest, answer=LoginAnswer, status=200, prepare=_check_password, allowed=_PUBLIC
)
def log_in(call: Call[LoginRequest, NoQuery]) -> Reply:
    """Log in with e-mail address, password and, where the account has a second factor, a code."""
    context = call.context
    opened = login.log_in(call.prepared, call.body.code, _caller(call), context.keyring, context.settings)
    context.throttle.forget("login_account", call.body.email)
    return _opened(opened, context.settings)


@operations.post("/logout", answer=SessionAnswer, status=200, allowed=_PERSON)
def log_out(call: Call[None, NoQuery]) -> Reply:
    """End the session that asks."""
    assert call.actor.session_id is not None
    session = sessions.find(call.actor.session_id, call.actor.user_id, call.context.settings)
    session.end()
    return Reply(
        SessionAnswer(session=sessions.view(session, call.actor.session_id)),
        cookie=_cookie("", 0, call.context.settings),
    )


@operations.post(
    "/sso",
    body=TicketRequest,
    answer=TicketAnswer,
    status=201,
    allowed=Access(role=ADMIN, scope="users:write"),
)
def create_ticket(call: Call[TicketRequest, NoQuery]) -> Reply:
    """Make a ticket that lets somebody log in as a user, once and within a minute."""
    user = _user_of(call.body)
    ticket, expires_at = login.make_ticket(user, call.actor)
    return Reply(TicketAnswer(ticket=ticket, user=users.view(user), expires_at=expires_at))


@operations.post("/sso/login", body=TicketLogin, answer=LoginAnswer, status=200, allowed=_PUBLIC)
def log_in_with_ticket(call: Call[TicketLogin, NoQuery]) -> Reply:
    """Log in with a ticket, which is used up."""
    call.context.throttle.hit("login_address", address_key(call.actor.address))
    ticket = call.body.ticket.get_secret_value()
    opened = login.log_in_with_ticket(ticket, _caller(call), call.context.settings)
    return _opened(opened, call.context.settings)


def _user_of(request: TicketRequest) -> User:
    if (request.user_id is None) == (request.email is None):
        raise DataValidationError([FieldProblem("user_id", "give either user_id or email")])
    if request.user_id is not None:
        return users.find(request.user_id)
    return users.find_by_email(request.email or "")


def _caller(call: Call[Any, Any]) -> Caller:
    return Caller(call.actor.address, call.user_agent, call.actor.session_id)


def _opened(opened: Opened, settings: Settings) -> Reply:
    answer = LoginAnswer(
        user=users.view(opened.user),
        token=opened.text,
        csrf_token=opened.csrf_token,
        expires_at=opened.session.expires_at,
    )
    return Reply(answer, cookie=_cookie(opened.text, settings.session_seconds, settings))


def _cookie(value: str, seconds: int, settings: Settings) -> str:
    """What the browser keeps: no script reads it, and no other site's page makes it be sent."""
    secure = "; Secure" if settings.cookie_secure else ""
    return f"{SESSION_COOKIE}={value}; Max-Age={seconds}; Path=/api/v1; HttpOnly; SameSite=Strict{secure}"
