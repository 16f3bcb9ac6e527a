"""Shows what servers have moved, and credits them with traffic."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.traffic import (
    MAX_TRAFFIC_BYTES,
    CreditRequest,
    PeriodView,
    ThresholdView,
    TrafficPoint,
    UsageView,
)
from jotunheim.repositories.peewee.database import now, previewed
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.traffic import RESOLUTIONS, TrafficHistory, TrafficMeter, TrafficPeriod
from jotunheim.services.history import span
from jotunheim.services.traffic import quota
from jotunheim.services.traffic.periods import period_at
from jotunheim.settings import Settings

FILTERS = {
    "period": TrafficPeriod.period,
    "owner_id": TrafficPeriod.owner_id,
    "server_id": TrafficPeriod.server_id,
}
SORTABLE = {
    "server_id": TrafficPeriod.server_id,
    "server_name": TrafficPeriod.server_name,
    "owner_id": TrafficPeriod.owner_id,
    "in_bytes": TrafficPeriod.in_bytes,
    "out_bytes": TrafficPeriod.out_bytes,
    "updated_at": TrafficPeriod.updated_at,
}


def usage(server: Server, settings: Settings) -> UsageView:
    """What a server has moved in the current month, and what follows from it."""
    standing = quota.standings([server], settings)[server.id]
    period = standing.period
    total = TrafficPeriod.of([server.id], period.name).get(server.id)
    passed = {(row.percent, row.action): row for row in standing.rows if row.period == period.name}
    return UsageView(
        period=period.name,
        begins_at=period.begins_at,
        ends_at=period.ends_at,
        in_bytes=total.in_bytes if total else 0,
        out_bytes=total.out_bytes if total else 0,
        credit_bytes=total.credit_bytes if total else 0,
        counted_bytes=standing.counted_bytes,
        limit_bytes=standing.limit_bytes,
        thresholds=[
            ThresholdView(
                percent=each.percent,
                action=each.action,
                rate_bytes_per_second=each.rate_bytes_per_second,
                passed_at=row.passed_at if (row := passed.get(each.key)) else None,
            )
            for each in standing.policy
        ],
        throttle_bytes_per_second=server.throttle_bytes_per_second,
        suspended=server.suspended_by_quota,
        measured_at=TrafficMeter.read_when(server),
    )


def history(
    server: Server, resolution_seconds: int, since: datetime | None, until: datetime | None
) -> list[TrafficPoint]:
    """What a server has moved, the oldest first; arguments and errors as of `history.span`."""
    since, until = span(RESOLUTIONS, resolution_seconds, since, until)
    return [
        TrafficPoint(at=entry.at, in_bytes=entry.in_bytes, out_bytes=entry.out_bytes)
        for entry in TrafficHistory.between(server, resolution_seconds, since, until)
    ]


def list_periods(page: Page, wanted: Mapping[str, Any], settings: Settings) -> Paged[PeriodView]:
    """A page of what servers have moved in a month, those that are gone too; the current month unless `period` says which."""
    wanted = {"period": period_at(now(), settings.traffic_timezone).name, **wanted}
    rows, total = paginate(narrowed(TrafficPeriod.select(), FILTERS, wanted), page, SORTABLE)
    return Paged([PeriodView.model_validate(row, from_attributes=True) for row in rows], page, total)


def credit(server: Server, asked: CreditRequest, settings: Settings, *, check: bool = False) -> UsageView:
    """Credit a server with traffic of the current month, and show what is so then. What follows, a worker sees to."""
    period = period_at(now(), settings.traffic_timezone).name
    with previewed(check):
        total = TrafficPeriod.begin(server, period)
        moved = quota.countable(total, settings)
        before = total.credit_bytes
        credited = max(moved, before) if asked.bytes is None else before + asked.bytes
        total.credit(min(credited, 2 * MAX_TRAFFIC_BYTES))
        return usage(server, settings)
