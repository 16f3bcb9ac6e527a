"""Secrets at rest, by name: `node/3/token`, `server/<id>/password`.

Runs refer to secrets by these names and read the values at the last moment, through the lookup plugin.
The keys live in a file or in the environment, never in the database.

Format: `jv1.<key id>.<base64url(nonce ‖ AES-256-GCM ciphertext)>`, with the secret's name as associated
data: a ciphertext that is moved to another row does not decrypt. The key id names the key that encrypted,
so several keys can be in use at once; the first one of the key file encrypts.
"""

import base64
import hashlib
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from peewee import CharField, TextField

from jotunheim import settings as settings_module
from jotunheim.exceptions.repository import SecretError
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.database import Table, UtcField, now
from jotunheim.settings import Settings

VERSION = "jv1"
KEY_CHECK = "key-check"
KEY_BYTES = 32
NONCE_BYTES = 12


class Keyring:
    """The keys that secrets are encrypted with; the first one encrypts, all of them decrypt.

    Raises:
        SecretError: there is no key, or one is not base64 of 32 bytes.
    """

    def __init__(self, encoded_keys: Iterable[str]) -> None:
        keys = [_decode_key(key) for key in encoded_keys]
        if not keys:
            raise SecretError(
                "There is no secret key.", hint="Run `jotunheim init`, or set JOTUNHEIM_SECRET_KEY_FILE."
            )
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._primary = _key_id(keys[0])

    @classmethod
    def load(cls, settings: Settings) -> "Keyring":
        """The keys of these settings, from the environment or the key file."""
        if settings.secret_key is not None:
            return cls(_lines(settings.secret_key.get_secret_value()))
        try:
            return cls(_lines(settings.key_file.read_text()))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SecretError(
                f"The secret key file {settings.key_file} cannot be read: {reason}.",
                hint="Run `jotunheim init`, or set JOTUNHEIM_SECRET_KEY_FILE.",
            ) from None

    def __repr__(self) -> str:
        """How many keys there are, and nothing of them."""
        return f"<Keyring of {len(self._ciphers)}>"

    @property
    def current(self) -> str:
        """How everything begins that the first key has encrypted."""
        return f"{VERSION}.{self._primary}."

    def renew(self, name: str, ciphertext: str) -> str:
        """The same value, encrypted with the first key.

        Raises:
            SecretError: it cannot be decrypted.
        """
        return self.encrypt(name, self.decrypt(name, ciphertext))

    def encrypt(self, name: str, value: str) -> str:
        """Encrypt a value under its name."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._primary].encrypt(nonce, value.encode(), name.encode())
        return f"{VERSION}.{self._primary}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, name: str, ciphertext: str) -> str:
        """The value that was encrypted under this name.

        Raises:
            SecretError: the key is missing, or the ciphertext was damaged or belongs to another name.
        """
        version, _, rest = ciphertext.partition(".")
        key_id, _, encoded = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != VERSION or cipher is None:
            raise SecretError(
                f"The secret {name} was encrypted with the key {key_id}, which is not at hand.",
                hint="Put the key back into the secret key file; several keys may stand there, one per line.",
            )
        with suppress(InvalidTag, ValueError):
            raw = base64.urlsafe_b64decode(encoded)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], name.encode()).decode()
        raise SecretError(f"The secret {name} is damaged.", hint="Set it again.")


class Secret(Table):
    """One encrypted value."""

    name = CharField(primary_key=True)
    ciphertext = TextField()
    created_at = UtcField(default=now)

    @classmethod
    def put(cls, keyring: Keyring, name: str, value: str) -> None:
        """Store a value under a name, in place of an older one."""
        (
            cls.insert(name=name, ciphertext=keyring.encrypt(name, value), created_at=now())
            .on_conflict(conflict_target=[cls.name], preserve=[cls.ciphertext, cls.created_at])
            .execute()
        )

    @classmethod
    def read(cls, keyring: Keyring, name: str) -> str:
        """The value of a name.

        Raises:
            SecretError: there is none, or it cannot be decrypted.
        """
        found = cls.get_or_none(cls.name == name)
        if found is None:
            raise SecretError(f"There is no secret {name}.")
        return keyring.decrypt(name, found.ciphertext)

    @classmethod
    def read_all(cls, keyring: Keyring, names: Collection[str]) -> dict[str, str]:
        """The values of those of these names that there are, in one query. Raises as `read`."""
        found = cls.select().where(cls.name.in_(list(names)))
        return {row.name: keyring.decrypt(row.name, row.ciphertext) for row in found}

    @classmethod
    def exists(cls, name: str) -> bool:
        """Whether there is a value under this name."""
        return bool(cls.select().where(cls.name == name).exists())

    @classmethod
    def erase(cls, name: str) -> None:
        """Forget a value; nothing happens when there is none."""
        cls.delete().where(cls.name == name).execute()


def remember_key(keyring: Keyring) -> None:
    """Store a value by which `check_key` will recognise the key; an older one stays."""
    if not Secret.exists(KEY_CHECK):
        Secret.put(keyring, KEY_CHECK, KEY_CHECK)


def check_key(keyring: Keyring) -> None:
    """Make sure that this is the key that the store's secrets were encrypted with.

    Raises:
        SecretError: it is another one.
    """
    if Secret.exists(KEY_CHECK):
        Secret.read(keyring, KEY_CHECK)


@database.usable()
def read_secret(name: str, *, is_there: bool) -> str:
    """Read one secret with the settings of the environment: the entry point of the Ansible lookup plugin.

    Args:
        is_there: as of `database.connect`.

    Raises:
        SecretError: there is no such secret, or its key is not at hand.
        StoreUnavailableError: the database cannot be used.
    """
    settings = settings_module.load()
    database.connect(settings, is_there=is_there)
    return Secret.read(Keyring.load(settings), name)


def create_key_file(path: Path) -> bool:
    """Write a new random key, unless the file exists; readable by its owner only.

    Returns:
        Whether the file was created.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
    return True


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _decode_key(encoded: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(encoded)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(
            "A secret key must be 32 bytes in base64.", hint="Run `jotunheim init` to create one."
        )
    return key


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"jotunheim key id\0" + key).hexdigest()[:8]
