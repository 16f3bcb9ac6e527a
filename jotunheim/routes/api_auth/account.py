"""The own account and its sessions."""

from jotunheim.data.account import OwnChange
from jotunheim.data.account_answers import (
    OwnAnswer,
    OwnSessionAnswer,
    SessionAnswer,
    SessionList,
    UserAnswer,
)
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.guards import Access
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import SessionListQuery
from jotunheim.services.accounts import login, sessions, users
from jotunheim.services.resources import assert_no_version

operations = Operations("/auth", role=None)
_ANYBODY = Access(role=None, scope=None, before_second_factor=True)
_PERSON = Access(role=None, scope=None, person=True)
_PERSON_AT_FIRST = Access(role=None, scope=None, person=True, before_second_factor=True)


@operations.get("/user", answer=OwnAnswer, allowed=_ANYBODY)
def read_own_user(call: Call[None, NoQuery]) -> Reply:
    """Show who asks, and what they may do."""
    user = users.find(call.actor.user_id)
    allowed = sorted(scope for scope in call.actor.permissions | call.actor.scopes if call.actor.may(scope))
    return Reply(OwnAnswer(user=users.view(user), permissions=allowed), etag=user.version)


def _new_password(call: Call[OwnChange, NoQuery]) -> str | None:
    if call.body.password is None:
        return None
    user = users.find(call.actor.user_id)
    if user.password_hash is not None and call.body.current_password is None:
        raise DataValidationError([FieldProblem("current_password", "is required for another password")])
    # To guess the present one is as slow as logging in; to judge and to hash the next one costs as much as that.
    call.context.throttle.hit("login_account", user.email)
    if user.password_hash is not None:
        assert call.body.current_password is not None
        login.assert_same_person(user, call.body.current_password.get_secret_value())
    return users.hash_of(call.body.password, user)


@operations.patch("/user", body=OwnChange, answer=UserAnswer, prepare=_new_password, allowed=_PERSON)
def change_own_user(call: Call[OwnChange, NoQuery]) -> Reply:
    """Change one's own name or password; another password ends all other sessions."""
    user = users.find(call.actor.user_id, call.if_match)
    users.change_own(user, call.body, call.prepared, call.actor.session_id)
    return Reply(UserAnswer(user=users.view(user)), etag=user.version)


@operations.get("/session", answer=OwnSessionAnswer, allowed=_PERSON_AT_FIRST)
def read_own_session(call: Call[None, NoQuery]) -> Reply:
    """Show the session that asks, with the token that its page sends along with changes."""
    assert call.actor.session_id is not None
    session = sessions.find(call.actor.session_id, call.actor.user_id, call.context.settings)
    shown = sessions.view(session, session.id)
    return Reply(OwnSessionAnswer(session=shown, csrf_token=call.actor.csrf_token))


@operations.get("/sessions", answer=SessionList, query=SessionListQuery, allowed=_PERSON)
def list_sessions(call: Call[None, SessionListQuery]) -> Reply:
    """List one's own sessions that have not ended."""
    actor = call.actor
    found = sessions.list_sessions(
        call.query.wanted_page(), actor.user_id, actor.session_id, call.context.settings
    )
    return Reply(SessionList.model_validate({"sessions": found.items, "meta": found.meta()}))


@operations.delete("/sessions/{id:row}", answer=SessionAnswer, allowed=_PERSON)
def end_session(call: Call[None, NoQuery]) -> Reply:
    """End one of one's own sessions."""
    session = sessions.find(call.path["id"], call.actor.user_id, call.context.settings)
    assert_no_version("session", call.if_match)
    session.end()
    return Reply(SessionAnswer(session=sessions.view(session, call.actor.session_id)))
