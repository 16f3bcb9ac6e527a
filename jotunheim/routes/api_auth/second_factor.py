"""The second factor of one's own logins."""

from typing import Any

from jotunheim.data.account import CodeRequest, PasswordAgain, PasswordAndCode
from jotunheim.data.account_answers import RecoveryCodesAnswer, SecondFactorAnswer, UserAnswer
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.guards import Access
from jotunheim.routes.operations import Operations
from jotunheim.services.accounts import login, second_factor, users

operations = Operations("/auth", role=None)
_PERSON = Access(role=None, scope=None, person=True, before_second_factor=True)


def _no_guess(call: Call[Any, NoQuery]) -> None:
    """Codes are guessed no faster than logins are."""
    call.context.throttle.hit("login_account", call.actor.email)


def _same_person(call: Call[Any, NoQuery]) -> None:
    _no_guess(call)
    user = users.find(call.actor.user_id)
    login.assert_same_person(user, call.body.current_password.get_secret_value())


@operations.post(
    "/2fa/setup",
    body=PasswordAgain,
    answer=SecondFactorAnswer,
    status=200,
    prepare=_same_person,
    allowed=_PERSON,
)
def set_up_second_factor(call: Call[PasswordAgain, NoQuery]) -> Reply:
    """Begin to set up a second factor: a secret for an authenticator app, also as a QR code."""
    user = users.find(call.actor.user_id)
    return Reply(SecondFactorAnswer(second_factor=second_factor.set_up(user, call.context.keyring)))


@operations.post(
    "/2fa/verify",
    body=CodeRequest,
    answer=RecoveryCodesAnswer,
    status=200,
    prepare=_no_guess,
    allowed=_PERSON,
)
def enable_second_factor(call: Call[CodeRequest, NoQuery]) -> Reply:
    """Prove that the app has the secret. Logins ask for codes from now on, and all other sessions end."""
    user = users.find(call.actor.user_id)
    codes = second_factor.enable(user, call.body.code, call.context.keyring, call.actor.session_id)
    return Reply(RecoveryCodesAnswer(recovery_codes=codes))


@operations.post(
    "/2fa/disable",
    body=PasswordAndCode,
    answer=UserAnswer,
    status=200,
    prepare=_same_person,
    allowed=_PERSON,
)
def disable_second_factor(call: Call[PasswordAndCode, NoQuery]) -> Reply:
    """Ask for no codes at logins any more."""
    user = users.find(call.actor.user_id)
    second_factor.assert_code(user, call.body.code, call.context.keyring)
    second_factor.disable(user)
    return Reply(UserAnswer(user=users.view(user)))


@operations.post(
    "/2fa/recovery-codes",
    body=PasswordAndCode,
    answer=RecoveryCodesAnswer,
    status=200,
    prepare=_same_person,
    allowed=_PERSON,
)
def renew_recovery_codes(call: Call[PasswordAndCode, NoQuery]) -> Reply:
    """Make new recovery codes; the old ones are of no use any more."""
    user = users.find(call.actor.user_id)
    second_factor.assert_code(user, call.body.code, call.context.keyring)
    return Reply(RecoveryCodesAnswer(recovery_codes=second_factor.renew_recovery_codes(user)))
