"""The second factor of a login: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when it is lost."""

import time

import pyotp

from jotunheim.data.account import SecondFactorSetup
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.sessions import RecoveryCode, Session
from jotunheim.services.accounts import credentials

ISSUER = "Jotunheim"
WRONG_CODE = FieldProblem("code", "is wrong, or was used before")
STEP_SECONDS = 30
_NEIGHBOURS = 1
"""Steps before and after the current one whose codes are right too: clocks differ."""


def set_up(user: User, keyring: Keyring) -> SecondFactorSetup:
    """Make a new secret, which counts from when a code of it was given.

    Raises:
        ConflictError: there is a second factor.
    """
    if user.second_factor_at is not None:
        raise ConflictError("The account has a second factor.", hint="Disable it first.")
    # Few logins draw a picture.
    import segno

    secret = pyotp.random_base32()
    Secret.put(keyring, user.new_code_reference, secret)
    uri = pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER)
    picture = segno.make(uri, error="m").svg_data_uri(scale=4)
    return SecondFactorSetup(secret=secret, uri=uri, qr_svg=picture)


def enable(user: User, code: str, keyring: Keyring, session_id: int | None) -> list[str]:
    """Ask for codes at each login from now on, and end all other sessions; returns recovery codes.

    Raises:
        ConflictError: nothing was set up.
        DataValidationError: the code is wrong.
    """
    if user.second_factor_at is not None or not Secret.exists(user.new_code_reference):
        raise ConflictError("No second factor is being set up.", hint="POST /api/v1/auth/2fa/setup first.")
    secret = Secret.read(keyring, user.new_code_reference)
    step = _step_of(secret, code)
    if step is None:
        raise DataValidationError([WRONG_CODE])
    Secret.put(keyring, user.code_reference, secret)
    Secret.erase(user.new_code_reference)
    user.change(second_factor_at=now(), last_code_step=step)
    Session.end_all(user.id, but=session_id)
    return renew_recovery_codes(user)


def renew_recovery_codes(user: User) -> list[str]:
    """New recovery codes, in place of those that there were."""
    if user.second_factor_at is None:
        raise ConflictError("The account has no second factor.")
    codes = credentials.new_recovery_codes()
    RecoveryCode.replace_all(user.id, codes)
    return codes


def disable(user: User) -> None:
    """Ask for no codes any more. Raises ConflictError: there is no second factor."""
    if user.second_factor_at is None:
        raise ConflictError("The account has no second factor.")
    Secret.erase(user.code_reference)
    RecoveryCode.replace_all(user.id, ())
    user.change(second_factor_at=None, last_code_step=None)


def accept(user: User, code: str, keyring: Keyring) -> bool:
    """Use a code, or a recovery code, up; within a transaction. False: it is wrong, or was used before."""
    code = "".join(code.split())
    if not code.isdecimal():
        return RecoveryCode.take(user.id, credentials.recovery_code(code))
    step = _step_of(Secret.read(keyring, user.code_reference), code)
    return step is not None and user.accept_code(step)


def assert_code(user: User, code: str, keyring: Keyring) -> None:
    """Use a code up.

    Raises:
        ConflictError: there is no second factor.
        DataValidationError: the code is wrong, or was used before.
    """
    if user.second_factor_at is None:
        raise ConflictError("The account has no second factor.")
    if not accept(user, code, keyring):
        raise DataValidationError([WRONG_CODE])


def _step_of(secret: str, code: str) -> int | None:
    """The time step to which a code belongs; None: it is the code of none near now."""
    totp, current = pyotp.TOTP(secret), int(time.time()) // STEP_SECONDS
    code = "".join(code.split())
    steps = range(current - _NEIGHBOURS, current + _NEIGHBOURS + 1)
    # All are compared, so that time does not tell which one it was.
    right = [step for step in steps if pyotp.utils.strings_equal(totp.generate_otp(step), code)]
    return right[-1] if right else None
