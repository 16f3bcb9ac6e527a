"""Traffic: what is counted, what follows when a server has used up its share, and what callers see of both."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from jotunheim.data.fields import Shape, View

MAX_THRESHOLDS = 16
MAX_TRAFFIC_BYTES = 2**60
PERIOD = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
"""A month, e.g. `2026-11`."""


class Counted(StrEnum):
    """Which traffic is held against a server's limit."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class ThresholdAction(StrEnum):
    """What follows when a threshold is passed."""

    NOTIFY = "notify"
    THROTTLE = "throttle"
    SUSPEND = "suspend"


class Threshold(Shape):
    """A part of the limit, and what follows when it is used up."""

    percent: int = Field(ge=1, le=1000)
    """Of `limits.traffic_bytes`."""
    action: Annotated[ThresholdAction, Field(strict=False)]
    rate_bytes_per_second: int | None = Field(default=None, ge=1000, le=10**12, validate_default=True)
    """Of `throttle`: what the network device is held to, in each direction."""

    @field_validator("rate_bytes_per_second")
    @classmethod
    def _belongs_to_throttle(cls, value: int | None, info: ValidationInfo) -> int | None:
        action = info.data.get("action")
        if action is not None and (action is ThresholdAction.THROTTLE) != (value is not None):
            raise ValueError("belongs to the action throttle, and to no other")
        return value

    @property
    def key(self) -> tuple[int, ThresholdAction]:
        """What tells thresholds of one policy apart."""
        return self.percent, self.action

    def is_passed(self, counted_bytes: int, limit_bytes: int | None) -> bool:
        """Whether so much has used up this part of a limit. No limit is never used up, a limit of 0 by the first byte."""
        if limit_bytes is None or not counted_bytes:
            return False
        return counted_bytes * 100 >= limit_bytes * self.percent


def _distinct(thresholds: list[Threshold]) -> list[Threshold]:
    if len({threshold.key for threshold in thresholds}) < len(thresholds):
        raise ValueError("must not have the same percent and action twice")
    return thresholds


TrafficPolicy = Annotated[list[Threshold], Field(max_length=MAX_THRESHOLDS), AfterValidator(_distinct)]
"""The thresholds of a server, or of all that have none of their own."""


class CreditRequest(Shape):
    """Traffic of the current period that is not held against the limit."""

    bytes: int | None = Field(default=None, ge=1, le=MAX_TRAFFIC_BYTES)
    """Beside what was credited before; null: all that has been counted so far."""


class ThresholdView(View):
    """A threshold, and since when it is passed in this period."""

    percent: int
    action: ThresholdAction
    rate_bytes_per_second: int | None
    passed_at: datetime | None


class TrafficPoint(View):
    """Traffic of one stretch of time, of `resolution_seconds` from `at` on."""

    at: datetime
    in_bytes: int
    out_bytes: int


class PeriodView(View):
    """What a server has moved in one month."""

    server_id: UUID
    server_name: str
    owner_id: int | None
    period: str
    in_bytes: int
    out_bytes: int
    credit_bytes: int
    """What is not held against the limit."""
    updated_at: datetime


class UsageView(View):
    """A server's traffic in the current period, and what follows from it."""

    period: str
    begins_at: datetime
    ends_at: datetime
    in_bytes: int
    out_bytes: int
    credit_bytes: int
    """What is not held against the limit."""
    counted_bytes: int
    """What is, of the directions that `TRAFFIC_COUNTED` names."""
    limit_bytes: int | None
    """Null: without limit."""
    thresholds: list[ThresholdView]
    throttle_bytes_per_second: int | None
    """What the network device is held to because of them; null: only to the server's own limit."""
    suspended: bool
    """Whether the server is suspended because of them."""
    measured_at: datetime | None
    """When its counters were last read; null: not yet."""


class UsageAnswer(View):
    """A server's traffic in the current period."""

    usage: UsageView


class ServerUsage(View):
    """A server's traffic, now and before, the oldest first."""

    usage: UsageView
    resolution_seconds: int
    history: list[TrafficPoint]
