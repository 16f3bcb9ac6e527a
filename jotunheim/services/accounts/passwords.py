"""Passwords of accounts: which are good enough, and how they are kept."""

import math
import threading
from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from jotunheim.exceptions.model import DataValidationError, FieldProblem

MIN_LENGTH = 10
_LOOKED_AT = 40
"""How much of a password its strength is judged by: judging a long one takes long."""
_READINGS = 32
"""In how many ways its digits and signs may be read as letters (`4` as a, `1` as i or l): each is judged as long as the others."""
_GOOD = 3
"""Of zxcvbn's scores 0 to 4: some 10^8 guesses."""

_AT_ONCE = 4
"""Hashes that are made at once: each takes 64 MiB, and a processor for a while."""

_hasher = PasswordHasher()
_turns = threading.BoundedSemaphore(_AT_ONCE)
_judging = threading.Lock()
"""zxcvbn keeps what is known of the account in a table of its own, which all threads share."""


def assert_good(password: str, about: Sequence[str], field: str = "password") -> None:
    """Make sure that a password is not among those that are tried first.

    Args:
        about: what anybody knows of the account, such as its e-mail address.
        field: what to call it.

    Raises:
        DataValidationError: it is too short, common, or made of what is known.
    """
    # Its dictionaries take a tenth of a second to load, and few processes set passwords.
    from zxcvbn import zxcvbn

    said = f"must be at least {MIN_LENGTH} characters"
    if len(password) >= MIN_LENGTH:
        known = [part for text in about for part in (text, *text.replace("@", ".").split(".")) if part]
        with _judging:
            judged = zxcvbn(_beginning(password), user_inputs=[*known, "jotunheim", "proxmox"])
        if judged["score"] >= _GOOD:
            return
        hints = [judged["feedback"]["warning"], *judged["feedback"]["suggestions"]]
        said = " ".join(["is too easy to guess.", *(hint for hint in hints if hint)])
    raise DataValidationError([FieldProblem(field, said)])


def _beginning(password: str) -> str:
    """As much of a password as can be judged in a fraction of a second."""
    from zxcvbn.matching import L33T_TABLE

    for length in range(min(len(password), _LOOKED_AT), MIN_LENGTH, -1):
        beginning = password[:length]
        read_as = (sum(sign in beginning for sign in signs) for signs in L33T_TABLE.values())
        if math.prod(count for count in read_as if count) <= _READINGS:
            return beginning
    return password[:MIN_LENGTH]


def hashed(password: str) -> str:
    """The argon2id hash to keep."""
    with _turns:
        return _hasher.hash(password)


def is_right(password: str, kept: str | None) -> bool:
    """Whether a password is the one that was hashed. It takes as long when there is none, so that time tells nothing."""
    known = kept or _nobodys()
    try:
        with _turns:
            _hasher.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Whether a hash was made with weaker parameters than are used now."""
    return _hasher.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
