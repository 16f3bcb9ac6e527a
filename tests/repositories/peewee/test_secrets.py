"""Secrets at rest: bound to their names, and readable across a rotation of keys."""

import base64
from pathlib import Path

import pytest

from jotunheim.exceptions.repository import SecretError
from jotunheim.repositories.peewee.secrets import Keyring, Secret, create_key_file
from jotunheim.settings import Settings

OLD = base64.urlsafe_b64encode(b"o" * 32).decode()
NEW = base64.urlsafe_b64encode(b"n" * 32).decode()


def test_a_secret_comes_back_and_is_not_stored_in_clear() -> None:
    keyring = Keyring([OLD])
    Secret.put(keyring, "node/1/token", "hunter2")
    assert "hunter2" not in Secret.get_by_id("node/1/token").ciphertext
    assert Secret.read(keyring, "node/1/token") == "hunter2"
    Secret.put(keyring, "node/1/token", "hunter3")
    assert Secret.read(keyring, "node/1/token") == "hunter3"


def test_the_same_value_is_never_encrypted_the_same_way_twice() -> None:
    keyring = Keyring([OLD])
    assert keyring.encrypt("a", "x") != keyring.encrypt("a", "x")


def test_a_ciphertext_that_was_moved_to_another_name_is_worthless() -> None:
    keyring = Keyring([OLD])
    with pytest.raises(SecretError, match="damaged"):
        keyring.decrypt("node/2/token", keyring.encrypt("node/1/token", "hunter2"))


def test_keys_can_be_rotated() -> None:
    before = Keyring([OLD]).encrypt("a", "hunter2")
    both = Keyring([NEW, OLD])
    assert both.decrypt("a", before) == "hunter2"
    after = both.encrypt("a", "hunter2")
    assert Keyring([NEW]).decrypt("a", after) == "hunter2"
    with pytest.raises(SecretError, match="not at hand"):
        Keyring([NEW]).decrypt("a", before)


@pytest.mark.parametrize("damage", ["", "jv1", "jv2.x.y", "nonsense", "jv1.00000000.AAAA"])
def test_damage_is_an_error_with_a_name(damage: str) -> None:
    with pytest.raises(SecretError, match="a"):
        Keyring([OLD]).decrypt("a", damage)


@pytest.mark.parametrize("keys", [[], ["short"], ["!" * 44]])
def test_a_bad_key_is_refused_and_not_repeated(keys: list[str]) -> None:
    with pytest.raises(SecretError) as raised:
        Keyring(keys)
    assert not any(key in raised.value.message for key in keys)


def test_the_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    assert create_key_file(path)
    content = path.read_text()
    assert not create_key_file(path)
    assert path.read_text() == content
    assert path.stat().st_mode & 0o777 == 0o600
    keyring = Keyring.load(Settings(state_dir=tmp_path))
    assert keyring.decrypt("a", keyring.encrypt("a", "b")) == "b"


def test_a_missing_key_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as raised:
        Keyring.load(Settings(state_dir=tmp_path))
    assert "jotunheim init" in (raised.value.hint or "")
