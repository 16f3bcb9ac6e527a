"""The traffic of servers: how far their counters were read, sums by month, hour and day, and thresholds that were passed.

What is counted and what follows from it is decided in `services.traffic`.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import (
    EXCLUDED,
    BigIntegerField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    UUIDField,
)

from jotunheim.repositories.peewee.database import Table, UtcField, locking, now
from jotunheim.repositories.peewee.servers import Server

HOUR, DAY = 3600, 86_400
RESOLUTIONS = {HOUR: timedelta(days=31), DAY: timedelta(days=400)}
"""How long history is kept, by the seconds that one entry stands for."""


class TrafficMeter(Table):
    """How far the counters of a server's process were read. Without one, what was counted before is not ours to count."""

    server = ForeignKeyField(Server, primary_key=True, on_delete="CASCADE")
    server_id: uuid.UUID
    node_id = IntegerField(null=True)
    """Where the process ran; None: nothing was read yet, and all that is counted is the server's."""
    pid = IntegerField(null=True)
    uptime_seconds = BigIntegerField(default=0)
    in_bytes = BigIntegerField(default=0)
    out_bytes = BigIntegerField(default=0)
    read_at = UtcField(null=True)
    """When the answer was there."""
    ended_node_id = IntegerField(null=True)
    """Of the process before, to know late readings of it; None: there was none."""
    ended_pid = IntegerField(null=True)
    ended_uptime_seconds = BigIntegerField(default=0)

    class Meta:
        table_name = "traffic_meter"

    @classmethod
    def begin(cls, server: Server) -> None:
        """Count all that a new server moves."""
        cls.create(server=server)

    @classmethod
    def hold(cls, servers: Iterable[Server]) -> "dict[uuid.UUID, TrafficMeter]":
        """The meters of servers by server id; nobody else changes them until the transaction ends."""
        query = cls.select().where(cls.server.in_([server.id for server in servers])).order_by(cls.server)
        return {meter.server_id: meter for meter in locking(query, cls)}

    @classmethod
    def put(cls, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write down how far counters were read; rows with all columns."""
        if rows:
            told = [field for field in cls._meta.sorted_fields if field is not cls.server]
            cls.insert_many(rows).on_conflict(conflict_target=[cls.server], preserve=told).execute()

    @classmethod
    def read_when(cls, server: Server) -> datetime | None:
        """When a server's counters were last read."""
        found: TrafficMeter | None = cls.get_or_none(cls.server == server)
        return found.read_at if found else None


class TrafficPeriod(Table):
    """What a server has moved in one month. It outlives the server."""

    server_id = UUIDField()
    period = CharField(max_length=7)
    server_name = CharField()
    owner_id = IntegerField(null=True)
    """None: that user is gone."""
    in_bytes = BigIntegerField(default=0)
    out_bytes = BigIntegerField(default=0)
    credit_bytes = BigIntegerField(default=0)
    updated_at = UtcField(default=now)

    class Meta:
        table_name = "traffic_period"
        primary_key = CompositeKey("server_id", "period")
        indexes = ((("period",), False), (("owner_id",), False))

    @classmethod
    def add(cls, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add traffic to months; rows with all columns but the credit."""
        if rows:
            cls.insert_many(rows).on_conflict(
                conflict_target=[cls.server_id, cls.period],
                preserve=[cls.server_name, cls.updated_at],
                update=_sums(cls),
            ).execute()

    @classmethod
    def of(cls, server_ids: Iterable[uuid.UUID], period: str) -> "dict[uuid.UUID, TrafficPeriod]":
        """What servers have moved in a month, by server id; those that have moved nothing are left out."""
        query = cls.select().where(cls.server_id.in_(list(server_ids)) & (cls.period == period))
        return {row.server_id: row for row in query}

    @classmethod
    def begin(cls, server: Server, period: str) -> "TrafficPeriod":
        """The sums of a server's month, which nobody else changes until the transaction ends; new ones if there were none."""
        cls.insert(
            server_id=server.id, period=period, server_name=server.name, owner_id=server.owner_id
        ).on_conflict_ignore().execute()
        found: TrafficPeriod = locking(
            cls.select().where((cls.server_id == server.id) & (cls.period == period)), cls
        ).get()
        return found

    def credit(self, credit_bytes: int) -> None:
        """Set what is not held against the limit."""
        mine = (TrafficPeriod.server_id == self.server_id) & (TrafficPeriod.period == self.period)
        TrafficPeriod.update(credit_bytes=credit_bytes, updated_at=now()).where(mine).execute()

    @classmethod
    def disown(cls, owner_id: int) -> None:
        """Let what the servers of a user have moved be nobody's: SQLite may give the user's id to the next one."""
        cls.update(owner_id=None).where(cls.owner_id == owner_id).execute()

    @classmethod
    def prune(cls, before: str) -> int:
        """Forget the months before one; returns how many rows went."""
        return int(cls.delete().where(cls.period < before).execute())


class TrafficHistory(Table):
    """What a server has moved in one hour, or one day."""

    server = ForeignKeyField(Server, on_delete="CASCADE")
    server_id: uuid.UUID
    resolution_seconds = IntegerField()
    at = UtcField()
    """When the hour or day begins, of UTC."""
    in_bytes = BigIntegerField()
    out_bytes = BigIntegerField()

    class Meta:
        table_name = "traffic_history"
        primary_key = CompositeKey("server", "resolution_seconds", "at")
        indexes = ((("resolution_seconds", "at"), False),)

    @classmethod
    def add(cls, at: datetime, moved: Mapping[uuid.UUID, tuple[int, int]]) -> None:
        """Add what servers have moved, in and out by server id, to the hour and the day of a time."""
        rows = [
            {
                "server": id_,
                "resolution_seconds": seconds,
                "at": datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC),
                "in_bytes": in_bytes,
                "out_bytes": out_bytes,
            }
            for id_, (in_bytes, out_bytes) in moved.items()
            for seconds in RESOLUTIONS
        ]
        if rows:
            key = [cls.server, cls.resolution_seconds, cls.at]
            cls.insert_many(rows).on_conflict(conflict_target=key, update=_sums(cls)).execute()

    @classmethod
    def between(
        cls, server: Server, resolution_seconds: int, since: datetime, until: datetime
    ) -> "list[TrafficHistory]":
        """What was recorded of a server in a time, the oldest first."""
        within = (cls.at >= since) & (cls.at < until)
        same = (cls.server == server) & (cls.resolution_seconds == resolution_seconds)
        return list(cls.select().where(same & within).order_by(cls.at))

    @classmethod
    def prune(cls) -> int:
        """Forget what is older than it is kept; returns how many rows went."""
        at = now()
        old = [
            (cls.resolution_seconds == seconds) & (cls.at < at - kept)
            for seconds, kept in RESOLUTIONS.items()
        ]
        return sum(int(cls.delete().where(each).execute()) for each in old)


class TrafficThreshold(Table):
    """A threshold that a server has passed in one month: recorded once, whoever notices it."""

    server = ForeignKeyField(Server, on_delete="CASCADE")
    server_id: uuid.UUID
    period = CharField(max_length=7)
    percent = IntegerField()
    action = CharField(max_length=16)
    passed_at = UtcField(default=now)
    settled_at = UtcField(null=True)
    """Of `suspend`: when the suspension was asked for, or there was nothing to be done."""
    ended_at = UtcField(null=True)
    """When its month was over. It is kept for another one, so that nobody whose clock is behind passes it again."""

    class Meta:
        table_name = "traffic_threshold"
        primary_key = CompositeKey("server", "period", "percent", "action")

    @classmethod
    def of(cls, servers: Iterable[Server]) -> "dict[uuid.UUID, list[TrafficThreshold]]":
        """What servers have passed, by server id."""
        found: dict[uuid.UUID, list[TrafficThreshold]] = {}
        for row in cls.select().where(cls.server.in_([server.id for server in servers])):
            found.setdefault(row.server_id, []).append(row)
        return found

    @classmethod
    def in_force(cls) -> Any:
        """A select of the ids of servers that have passed a threshold whose month is not over."""
        return cls.select(cls.server).where(cls.ended_at.is_null())

    def settle(self) -> None:
        """What follows was seen to."""
        self._set(settled_at=now())

    def end(self) -> None:
        """Its month is over."""
        self._set(ended_at=now())

    def forget(self) -> None:
        """It is not passed any more, and can be passed again."""
        TrafficThreshold.delete().where(self._is_this()).execute()

    @classmethod
    def prune(cls, before: str) -> int:
        """Forget what was passed before a month and is over; returns how many rows went."""
        return int(cls.delete().where((cls.period < before) & cls.ended_at.is_null(False)).execute())

    def _set(self, **columns: object) -> None:
        TrafficThreshold.update(**columns).where(self._is_this()).execute()
        for name, value in columns.items():
            setattr(self, name, value)

    def _is_this(self) -> Any:
        cls = TrafficThreshold
        which = (cls.percent == self.percent) & (cls.action == self.action)
        return (cls.server == self.server_id) & (cls.period == self.period) & which


def _sums(table: Any) -> dict[Any, Any]:
    return {column: column + getattr(EXCLUDED, column.name) for column in (table.in_bytes, table.out_bytes)}
