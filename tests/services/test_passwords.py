"""Passwords cost as much whoever they are of, and not more than so much at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from argon2 import PasswordHasher, extract_parameters

from jotunheim.exceptions.model import DataValidationError
from jotunheim.services.accounts import passwords


@dataclass
class Hasher:
    """argon2id as it is used, and what it was asked."""

    real: PasswordHasher = field(default_factory=PasswordHasher)
    verified: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hash(self, password: str) -> str:
        """The hash of a password."""
        return self.real.hash(password)

    def verify(self, kept: str, password: str) -> bool:
        """Whether it is that of a hash; slowly enough to be met by others."""
        with self.lock:
            self.verified.append(kept)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            time.sleep(0.02)
            return bool(self.real.verify(kept, password))
        finally:
            with self.lock:
                self.at_once -= 1


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Hasher:
    """What the service hashes with."""
    watched = Hasher()
    monkeypatch.setattr(passwords, "_hasher", watched)
    return watched


def test_a_password_of_nobody_costs_as_much_as_one_of_somebody(hasher: Hasher) -> None:
    kept = passwords.hashed("right")
    assert passwords.is_right("right", kept)
    assert not passwords.is_right("wrong", kept)
    assert not passwords.is_right("wrong", None)
    assert not passwords.is_right("nobody has this password", None)
    assert len(hasher.verified) == 4
    assert [extract_parameters(each) for each in hasher.verified] == [extract_parameters(kept)] * 4
    assert kept.startswith("$argon2id$")


def test_few_are_hashed_at_once_however_many_ask(hasher: Hasher) -> None:
    with ThreadPoolExecutor(12) as callers:
        list(callers.map(lambda _: passwords.is_right("wrong", None), range(12)))
    assert len(hasher.verified) == 12
    assert 1 < hasher.most <= 4


@pytest.mark.parametrize("password", ["4@8({[<369!1|0$5+7%2" * 12, "1234567890!@#$%^&*()" * 2])
def test_no_password_takes_long_to_judge(password: str) -> None:
    passwords.assert_good("a-Quite-unusual-passw0rd", ())  # loads the dictionaries
    began = time.thread_time()
    with suppress(DataValidationError):
        passwords.assert_good(password, ("somebody@example.com", "Some Body"))
    assert time.thread_time() - began < 1


def test_passwords_that_are_judged_at_once_are_judged_by_their_own_accounts() -> None:
    names = [f"Xq{number}vorzul Kwemtig{number}pla" for number in range(12)]

    def is_refused(name: str) -> bool:
        try:
            passwords.assert_good(name.replace(" ", ""), (name, *name.split()))
        except DataValidationError:
            return True
        return False

    with ThreadPoolExecutor(12) as callers:
        assert all(callers.map(is_refused, names * 4))


def test_signs_and_digits_do_not_make_a_common_password_good() -> None:
    for password in ("p@$$w0rd123", "P@$$w0rd!P@$$w0rd!", "1234567890!@#$%^&*()"):
        with pytest.raises(DataValidationError):
            passwords.assert_good(password, ())
    passwords.assert_good("4@8({[<369!1|0$5+7%2", ())
