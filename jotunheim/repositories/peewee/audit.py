"""The audit log: entries that are only added, each with the hash of the one before it.

The ids have no gaps, and `hash` is SHA-256 over all other columns. So a copy of one hash proves all entries up to it:
whoever changes, removes or reorders one must change all hashes behind it. Triggers keep entries from being changed, and from
being deleted unless the anchor is behind them.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import BigIntegerField, CharField, IntegerField, TextField

from jotunheim.repositories.peewee.database import Table, UtcField, serialize
from jotunheim.repositories.peewee.paging import narrowed

FIRST_HASH = "0" * 64
"""What the very first entry follows."""
_BATCH = 500
_UNREADABLE = (ValueError, TypeError, IndexError, OverflowError, sqlite3.OperationalError)
"""What comes of a value in a column that is not of its type: SQLite takes any."""


@dataclass(frozen=True)
class Link:
    """What the next entry follows: id and hash of the one before it."""

    id: int = 0
    hash: str = FIRST_HASH


class AuditEntry(Table):
    """What somebody did, or was refused."""

    id = BigIntegerField(primary_key=True)
    """One more than that of the entry before it."""
    at = UtcField(index=True)
    source = CharField(max_length=8)
    """`api`, `cli` or `worker`."""
    actor_id = IntegerField(null=True)
    """Neither this nor the next ones refer to rows: entries outlive them."""
    actor_email = CharField(null=True, index=True)
    token_id = IntegerField(null=True)
    session_id = IntegerField(null=True)
    address = CharField(max_length=64, null=True)
    request_id = CharField(max_length=128, null=True, index=True)
    action = CharField(max_length=64)
    resource_type = CharField(max_length=32, null=True)
    resource_id = CharField(null=True)
    outcome = CharField(max_length=32)
    """`done`, `previewed`, or the code of the error."""
    status = IntegerField(null=True)
    """Of the HTTP answer."""
    message = TextField(null=True)
    """Why it was refused."""
    times = IntegerField(default=1)
    """How many requests the entry stands for."""
    request = TextField(null=True)
    """JSON, as the next ones, without secrets."""
    before = TextField(null=True)
    after = TextField(null=True)
    previous_hash = CharField(max_length=64)
    hash = CharField(max_length=64)

    class Meta:
        indexes = ((("resource_type", "resource_id"), False),)

    @classmethod
    def append(cls, values: Mapping[str, Any]) -> None:
        """Add an entry; within a transaction, as the last thing in it: others wait until it ends.

        Args:
            values: all columns but id and hashes; JSON as text.
        """
        serialize("audit")
        last = cls.end()
        columns = {"times": 1, **values, "id": last.id + 1, "previous_hash": last.hash}
        entry = cls(**columns)
        entry.hash = entry.digest()
        entry.save(force_insert=True)

    @classmethod
    def end(cls) -> Link:
        """What the next entry follows."""
        last = cls.select(cls.id, cls.hash).order_by(cls.id.desc()).first()
        return Link(last.id, last.hash) if last else AuditAnchor.link()

    def digest(self) -> str:
        """What `hash` must be: SHA-256, in hex, over the other columns as JSON with sorted names and without spaces."""
        meta: Any = type(self)._meta  # peewee's way to the columns
        columns = {
            name: field.db_value(getattr(self, name))
            for name, field in meta.fields.items()
            if name != AuditEntry.hash.name
        }
        text = json.dumps(columns, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def newest(cls, filters: Mapping[str, Any], before: int | None, limit: int) -> "list[AuditEntry]":
        """Entries that these filters let through, the newest first.

        Args:
            before: only entries with a smaller id.
        """
        columns: dict[str, Any] = {
            name: getattr(cls, name)
            for name in ("actor_email", "action", "resource_type", "resource_id", "outcome", "request_id")
        }
        columns |= {"since": lambda at: cls.at >= at, "until": lambda at: cls.at < at}
        query = narrowed(cls.select(), columns, filters)
        if before is not None:
            query = query.where(cls.id < before)
        return list(query.order_by(cls.id.desc()).limit(limit))

    @classmethod
    def all(cls) -> "Iterator[tuple[int, AuditEntry | None]]":
        """All entries with their ids, the oldest first, with few of them in memory at a time; None: what is there cannot be read."""
        query: Any = cls.select(cls.id).order_by(cls.id).limit(_BATCH).tuples()
        ids = [id_ for (id_,) in query]
        while ids:
            yield from zip(ids, cls._readable(ids), strict=True)
            ids = [id_ for (id_,) in query.where(cls.id > ids[-1])]

    @classmethod
    def _readable(cls, ids: "list[int]") -> "list[AuditEntry | None]":
        try:
            found = {entry.id: entry for entry in cls.select().where(cls.id.in_(ids))}
        except _UNREADABLE:
            if len(ids) == 1:
                return [None]
            half = len(ids) // 2
            return [*cls._readable(ids[:half]), *cls._readable(ids[half:])]
        return [found.get(id_) for id_ in ids]

    @classmethod
    def last_before(cls, at: datetime, limit: int) -> tuple[Link, int] | None:
        """The last of at most `limit` entries at the beginning that are all older than a time, and how many they are."""
        younger = cls.select(cls.id).where(cls.at >= at).order_by(cls.id).first()
        query = cls.select(cls.id, cls.hash)
        if younger is not None:
            query = query.where(cls.id < younger.id)
        old = list(query.order_by(cls.id).limit(limit))
        return (Link(old[-1].id, old[-1].hash), len(old)) if old else None

    @classmethod
    def forget_until(cls, last: Link) -> None:
        """Delete an entry and all before it; the chain begins behind it from now on. Call it under `serialize("audit")`."""
        AuditAnchor.set(last)
        cls.delete().where(cls.id <= last.id).execute()


class AuditAnchor(Table):
    """The last entry that is not there any more: one row, or none."""

    id = IntegerField(primary_key=True)
    last_id = BigIntegerField()
    hash = CharField(max_length=64)

    @classmethod
    def link(cls) -> Link:
        """What the first entry that is there follows."""
        row = cls.get_or_none()
        return Link(row.last_id, row.hash) if row else Link()

    @classmethod
    def set(cls, link: Link) -> None:
        """Note what the first entry follows."""
        cls.delete().execute()
        cls.insert(id=1, last_id=link.id, hash=link.hash).execute()
