"""Deliveries: listing them with what became of them, asking for them again, and trying a webhook out."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from jotunheim.data.paging import Page, Paged
from jotunheim.data.webhook.kinds import AttemptError, DeliveryStatus, EventKind
from jotunheim.data.webhook.view import AttemptView, DeliveryDetail, DeliveryView
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, RateLimitExceededError
from jotunheim.repositories.peewee.announcements import announce_to
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookAttempt, WebhookDelivery, WebhookEvent

HOUR = timedelta(hours=1)
OWNERS_CALLS_AN_HOUR = 300
"""How often an owner's webhook may have been called until tests and replays have to wait; what happens is told nevertheless."""

FILTERS = {
    "status": WebhookDelivery.status,
    "type": WebhookEvent.type,
    "event_id": WebhookEvent.id,
    "resource_type": WebhookEvent.resource_type,
    "resource_id": WebhookEvent.resource_id,
    "since": lambda since: WebhookDelivery.created_at >= since,
    "until": lambda until: WebhookDelivery.created_at < until,
}
SORTABLE = {
    "id": WebhookDelivery.id,
    "created_at": WebhookDelivery.created_at,
    "finished_at": WebhookDelivery.finished_at,
    "status": WebhookDelivery.status,
}


def list_deliveries(webhook: Webhook, page: Page, wanted: Mapping[str, Any]) -> Paged[DeliveryView]:
    """A page of a webhook's deliveries that these filters let through, the newest first unless `sort` says otherwise."""
    page = page if page.sort else Page(page.number, page.per_page, "-id")
    rows, total = paginate(narrowed(WebhookDelivery.of(webhook), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(webhook: Webhook, id_: int) -> WebhookDelivery:
    """A delivery of a webhook, with its event. Raises NotFoundError."""
    found: WebhookDelivery | None = WebhookDelivery.of(webhook).where(WebhookDelivery.id == id_).first()
    if found is None:
        raise NotFoundError("delivery", id_)
    return found


def replay(webhook: Webhook, delivery: WebhookDelivery) -> None:
    """Let an event be delivered once more, under the same id, with all attempts; or at once, where one is due later.

    Raises:
        ConflictError: the webhook is disabled.
        RateLimitExceededError: its owner had it called too often.
    """
    _assert_callable(webhook)
    delivery.ask_again()


def replay_failed(webhook: Webhook, since: datetime) -> int:
    """Let everything be delivered after all that failed since a time; returns how much that is.

    Raises:
        ConflictError: the webhook is disabled.
        RateLimitExceededError: its owner had it called too often.
    """
    _assert_callable(webhook)
    return WebhookDelivery.ask_failed_again(webhook, since)


def test(webhook: Webhook) -> WebhookDelivery:
    """Tell a webhook that it is tried out, whatever else it wants to be told.

    Raises:
        ConflictError: it is disabled.
        RateLimitExceededError: its owner had it called too often.
    """
    _assert_callable(webhook)
    return announce_to(webhook, EventKind.TEST, ("webhook", webhook.id), {"webhook": {"id": webhook.id}})


def view(delivery: WebhookDelivery) -> DeliveryView:
    """A delivery as lists show it."""
    event = delivery.event
    return DeliveryView(
        id=delivery.id,
        event_id=event.id,
        type=EventKind(event.type),
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        status=DeliveryStatus(delivery.status),
        attempts=delivery.attempts,
        next_attempt_at=delivery.due_at,
        status_code=delivery.status_code,
        error=AttemptError(delivery.error) if delivery.error else None,
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
    )


def detail(webhook: Webhook, delivery: WebhookDelivery) -> DeliveryDetail:
    """A delivery with its attempts and what is sent."""
    log = [
        AttemptView(
            at=attempt.at,
            duration_ms=attempt.duration_ms,
            status_code=attempt.status_code,
            error=AttemptError(attempt.error) if attempt.error else None,
            detail=attempt.detail,
        )
        for attempt in WebhookAttempt.of(delivery)
    ]
    return DeliveryDetail(**view(delivery).model_dump(), body=delivery.event.body_for(webhook), log=log)


def _assert_callable(webhook: Webhook) -> None:
    """Make sure that somebody may have a webhook called once more: owners must not make a flood of it, whoever's URL it is.

    Raises:
        ConflictError: it is disabled.
        RateLimitExceededError: its owner had it called too often.
    """
    if not webhook.enabled:
        raise ConflictError(f"Webhook {webhook.id} is disabled.", hint="Enable it first.")
    if webhook.owner_id is None:
        return
    at = now()
    freed_at = WebhookAttempt.nth_last(webhook, OWNERS_CALLS_AN_HOUR, since=at - HOUR)
    if freed_at is not None:
        raise RateLimitExceededError(max(1, round((freed_at + HOUR - at).total_seconds())))
