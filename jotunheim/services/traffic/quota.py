"""Decides what follows when servers have used up parts of their traffic, and when that ends.

Decisions are recorded: which thresholds are passed, and what the network device shall be held to. `enforcement` sees to it that
they come about. A threshold is passed once a month, whoever notices it first and however often.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jotunheim.data.server.status import ServerStatus
from jotunheim.data.server.traffic import Counted, Threshold, ThresholdAction
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.repositories.peewee.announcements import announce
from jotunheim.repositories.peewee.database import locking, now, transact
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import TrafficPeriod, TrafficThreshold
from jotunheim.services.audit import records
from jotunheim.services.traffic.periods import Period, period_at
from jotunheim.settings import Settings

Told = tuple[EventKind, str, Threshold | None]
"""An event, in words, and the threshold that it is about."""


@dataclass(frozen=True)
class Standing:
    """What a server has used up in a month, and what it has passed.

    Attributes:
        policy: its thresholds.
        rows: those that it was seen to pass, of other months too.
    """

    period: Period
    counted_bytes: int
    limit_bytes: int | None
    policy: Sequence[Threshold]
    rows: Sequence[TrafficThreshold]

    @property
    def passed(self) -> list[Threshold]:
        """The thresholds that are passed now."""
        return [each for each in self.policy if each.is_passed(self.counted_bytes, self.limit_bytes)]

    @property
    def new(self) -> list[Threshold]:
        """Those of them that nobody has seen passed in this month."""
        known = {_key(row) for row in self.rows if row.period == self.period.name}
        return [each for each in self.passed if each.key not in known]

    @property
    def gone(self) -> list[TrafficThreshold]:
        """What was passed in this month and is not any more: the limit was raised, or traffic credited."""
        still = {each.key for each in self.passed}
        return [row for row in self._in_force() if _key(row) not in still]

    @property
    def over(self) -> list[TrafficThreshold]:
        """What was passed in months that are over."""
        return [row for row in self.rows if row.period < self.period.name and row.ended_at is None]

    @property
    def throttle(self) -> int | None:
        """What the network device shall be held to; None: to nothing."""
        ended = {_key(row) for row in self.rows if row.period == self.period.name and row.ended_at}
        rates = [each.rate_bytes_per_second for each in self.passed if each.key not in ended]
        return min(filter(None, rates), default=None)

    @property
    def suspends(self) -> list[TrafficThreshold]:
        """What the server is to be suspended for."""
        gone = {_key(row) for row in self.gone}
        mine = [row for row in self._in_force() if row.action == ThresholdAction.SUSPEND]
        return [row for row in mine if _key(row) not in gone]

    def _in_force(self) -> list[TrafficThreshold]:
        return [row for row in self.rows if row.period == self.period.name and row.ended_at is None]


def standings(servers: Iterable[Server], settings: Settings) -> dict[uuid.UUID, Standing]:
    """What servers have used up, by id; two queries for all of them."""
    wanted = list(servers)
    period = period_at(now(), settings.traffic_timezone)
    totals = TrafficPeriod.of([server.id for server in wanted], period.name)
    rows = TrafficThreshold.of(wanted)
    return {
        server.id: Standing(
            period,
            counted(totals.get(server.id), settings),
            server.limits.get("traffic_bytes"),
            policy_of(server, settings),
            rows.get(server.id, []),
        )
        for server in wanted
    }


def policy_of(server: Server, settings: Settings) -> list[Threshold]:
    """The thresholds of a server, the lowest first."""
    own = server.limits.get("traffic_policy")
    thresholds = _default(settings) if own is None else [Threshold.model_validate(each) for each in own]
    return sorted(thresholds, key=lambda threshold: threshold.key)


def counted(total: TrafficPeriod | None, settings: Settings) -> int:
    """What of a month's traffic is held against the limit, in bytes."""
    return max(0, countable(total, settings) - total.credit_bytes) if total else 0


def countable(total: TrafficPeriod, settings: Settings) -> int:
    """The same, before anything was credited."""
    match Counted(settings.traffic_counted):
        case Counted.IN:
            return int(total.in_bytes)
        case Counted.OUT:
            return int(total.out_bytes)
        case Counted.BOTH:
            return int(total.in_bytes + total.out_bytes)


def review_node(node: Node, settings: Settings) -> None:
    """Decide about all servers of a node, after they were counted."""
    servers = Server.on(node)
    review(servers, standings(servers, settings), settings)


def review(servers: Iterable[Server], found: Mapping[uuid.UUID, Standing], settings: Settings) -> bool:
    """Decide about those of these servers of which something is new, each in a transaction of its own.

    Returns:
        Whether there was one.
    """
    news = [server.id for server in servers if _is_news(server, found[server.id])]
    for id_ in news:
        transact(partial(_review_one, id_, settings))
    return bool(news)


def hold(id_: uuid.UUID) -> Server | None:
    """A server that nobody else changes until the transaction ends; None: it is gone."""
    found: Server | None = locking(Server.with_places().where(Server.id == id_), Server).first()
    return found


def decide(server: Server, settings: Settings) -> Standing:
    """Record what is decided about a server that is held, and tell of it; returns what is so then."""
    standing = standings([server], settings)[server.id]
    if not _is_news(server, standing):
        return standing
    new, gone, over, throttle = standing.new, standing.gone, standing.over, standing.throttle
    for row in over:
        row.end()
    for row in gone:
        row.forget()
    for threshold in new:
        TrafficThreshold.create(
            server=server, period=standing.period.name, percent=threshold.percent, action=threshold.action
        )
    if throttle != server.throttle_bytes_per_second:
        server.throttle(throttle)
    ended = [(EventKind.QUOTA_RESET, _of_end(standing, [*over, *gone]), None)] if over or gone else []
    _tell(server, standing, [*ended, *((_kind(each), _of_threshold(standing, each), each) for each in new)])
    return standings([server], settings)[server.id]


def _review_one(id_: uuid.UUID, settings: Settings) -> None:
    server = hold(id_)
    if server is not None:
        decide(server, settings)


def _is_news(server: Server, standing: Standing) -> bool:
    if server.status == ServerStatus.DELETING:
        return False
    differs = standing.throttle != server.throttle_bytes_per_second
    return bool(differs or standing.new or standing.gone or standing.over)


def _tell(server: Server, standing: Standing, told: Sequence[Told]) -> None:
    """Announce and record events about a server's traffic, in the transaction of what they tell of."""
    about = {
        "period": standing.period.name,
        "counted_bytes": standing.counted_bytes,
        "limit_bytes": standing.limit_bytes,
    }
    events = [
        (kind, message, about | (threshold.model_dump(mode="json") if threshold else {}))
        for kind, message, threshold in told
    ]
    named = {"id": str(server.id), "name": server.name}
    for kind, message, data in events:
        announced = {"server": named, "message": message, **data}
        announce(kind, owner_id=server.owner_id, resource=("server", server.id), data=announced)
    for kind, message, data in events:  # last, for it locks the log
        records.record(
            records.Event(
                kind,
                source=records.WORKER,
                resource_type="server",
                resource_id=server.id,
                message=message,
                after=data,
            )
        )


def _kind(threshold: Threshold) -> EventKind:
    is_warning = threshold.action is ThresholdAction.NOTIFY
    return EventKind.QUOTA_WARNED if is_warning else EventKind.QUOTA_EXCEEDED


def _of_threshold(standing: Standing, threshold: Threshold) -> str:
    used = f"{threshold.percent} % of its traffic of {standing.period.name} is used up"
    match threshold.action:
        case ThresholdAction.NOTIFY:
            return f"{used}."
        case ThresholdAction.THROTTLE:
            return f"{used}: it is held to {threshold.rate_bytes_per_second} bytes a second."
        case ThresholdAction.SUSPEND:
            return f"{used}: it is suspended."


def _of_end(standing: Standing, ended: Sequence[TrafficThreshold]) -> str:
    months = sorted({row.period for row in ended} - {standing.period.name})
    if months:
        return f"{standing.period.name} has begun: what {', '.join(months)} brought about ends."
    return f"{min(row.percent for row in ended)} % of its traffic is not used up any more."


def _default(settings: Settings) -> list[Threshold]:
    found = []
    for part in filter(None, settings.traffic_policy.split(",")):
        percent, _, rest = part.partition("=")
        action, _, rate = rest.partition(":")
        found.append(
            Threshold(
                percent=int(percent),
                action=ThresholdAction(action),
                rate_bytes_per_second=int(rate) if rate else None,
            )
        )
    return found


def _key(row: TrafficThreshold) -> tuple[int, ThresholdAction]:
    return row.percent, ThresholdAction(row.action)
