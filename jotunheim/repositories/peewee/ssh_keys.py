"""SSH keys that users keep, so that servers can be given them by name. Servers have copies: see `services.ssh_keys`."""

from collections.abc import Iterable
from typing import Any

from peewee import AutoField, CharField, ForeignKeyField, TextField

from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, now


class SshKey(Versioned, Table):
    """A public key of a user."""

    id = AutoField()
    user = ForeignKeyField(User, backref="ssh_keys", on_delete="CASCADE", index=False)
    user_id: int
    name = CharField()
    public_key = TextField()
    fingerprint = CharField(max_length=64)
    """`SHA256:…`."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    class Meta:
        indexes = ((("user", "name"), True), (("user", "fingerprint"), True))

    @classmethod
    def matching(
        cls, user_id: int | None = None, name: str | None = None, fingerprint: str | None = None
    ) -> Any:
        """A select of the keys that have all of these."""
        query = cls.select()
        for column, wanted in ((cls.user, user_id), (cls.name, name), (cls.fingerprint, fingerprint)):
            if wanted is not None:
                query = query.where(column == wanted)
        return query

    @classmethod
    def count_of(cls, user_id: int) -> int:
        """How many keys a user has."""
        return int(cls.select().where(cls.user == user_id).count())

    @classmethod
    def of(cls, user_id: int) -> "list[SshKey]":
        """All keys of a user, the oldest first."""
        return list(cls.select().where(cls.user == user_id).order_by(cls.id))

    @classmethod
    def among(cls, user_id: int, ids: Iterable[int]) -> "dict[int, SshKey]":
        """Those of these keys that are this user's, by id."""
        query = cls.select().where((cls.user == user_id) & cls.id.in_(list(ids)))
        return {key.id: key for key in query}

    def remove(self) -> None:
        """Forget the key."""
        self.delete_instance()
