"""Stored answers of requests that carried an Idempotency-Key.

An answer may hold a password that is shown once, so it is kept encrypted.
"""

import json
from datetime import timedelta
from typing import Any

from peewee import CharField, CompositeKey, ForeignKeyField, IntegerField, TextField

from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import Table, UtcField, now, unique
from jotunheim.repositories.peewee.secrets import Keyring

KEPT = timedelta(hours=24)


class StoredAnswer(Table):
    """The answer to the first request with this key."""

    user = ForeignKeyField(User, on_delete="CASCADE")
    user_id: int
    key = CharField(max_length=255)
    request_sha256 = CharField(max_length=64)
    """Of token or session, method, path, query and body: another request under the same key is a mistake."""
    status = IntegerField()
    answer = TextField()
    created_at = UtcField(default=now, index=True)

    class Meta:
        primary_key = CompositeKey("user", "key")

    @classmethod
    def find(cls, user_id: int, key: str) -> "StoredAnswer | None":
        """The answer that is stored under a key, unless it is too old."""
        found: StoredAnswer | None = (
            cls.select()
            .where((cls.user == user_id) & (cls.key == key) & (cls.created_at > now() - KEPT))
            .first()
        )
        return found

    @classmethod
    def claim(cls, user_id: int, key: str, request_sha256: str) -> "StoredAnswer | None":
        """Take a key for the caller's transaction, or return the answer that is stored under it.

        Others that come with the same key meanwhile wait here until that transaction ends.
        """
        cls.delete().where(cls.created_at <= now() - KEPT).execute()
        insertion = cls.insert(user=user_id, key=key, request_sha256=request_sha256, status=0, answer="")
        with unique("This Idempotency-Key is in use."):
            taken = insertion.on_conflict_ignore().as_rowcount().execute()
        return None if taken else cls.find(user_id, key)

    @classmethod
    def fill(cls, keyring: Keyring, user_id: int, key: str, status: int, answer: dict[str, Any]) -> None:
        """Store the answer under a key that was taken."""
        sealed = keyring.encrypt(sealed_as(user_id, key), json.dumps(answer))
        cls.update(status=status, answer=sealed).where((cls.user == user_id) & (cls.key == key)).execute()

    def read(self, keyring: Keyring) -> dict[str, Any]:
        """What was stored."""
        document: dict[str, Any] = json.loads(keyring.decrypt(sealed_as(self.user_id, self.key), self.answer))
        return document


def sealed_as(user_id: int, key: str) -> str:
    """The name under which an answer is encrypted."""
    return f"idempotency/{user_id}/{key}"
