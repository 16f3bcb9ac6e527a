"""What is to be sent next, and what came of it. Sending is between the two, outside of transactions: `jobs.webhook`."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jotunheim.data.webhook.kinds import AttemptError, DisabledReason
from jotunheim.data.webhook.secret import key_of
from jotunheim.data.webhook.url import Receiver
from jotunheim.exceptions.repository import SecretError
from jotunheim.repositories.peewee.database import locking, now, transact
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookAttempt, WebhookDelivery, forget_before
from jotunheim.services.audit import records
from jotunheim.services.webhooks.addresses import Networks, networks_for
from jotunheim.settings import Settings

_GONE = 410
_BATCH = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parcel:
    """What is sent, and where to.

    Attributes:
        networks: what may be called although it is not public.
        keys: what it is signed with.
    """

    receiver: Receiver
    networks: Networks
    event_id: uuid.UUID
    body: bytes
    keys: tuple[bytes, ...] = field(repr=False)
    at: datetime


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        error: None: the receiver has it.
        detail: more about the error, for operators; nothing of the URL's path.
        retry_after_seconds: when the receiver wants to be called again.
    """

    status_code: int | None = None
    error: AttemptError | None = None
    detail: str | None = None
    duration_ms: int = 0
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Claimed:
    """A delivery that is attempted now, by whoever has claimed it."""

    webhook: Webhook
    delivery: WebhookDelivery
    attempt: WebhookAttempt
    parcel: Parcel | None
    """None: the webhook's URL or secret cannot be read."""


def claim(
    webhook: Webhook, lease_owner: str, lease_seconds: float, limit: int, keyring: Keyring, settings: Settings
) -> list[Claimed]:
    """Take deliveries of a webhook that are due, those that wait longest, with what is to be sent."""
    taken = transact(lambda: WebhookDelivery.claim(webhook, lease_owner, lease_seconds, limit))
    return [
        Claimed(webhook, delivery, attempt, _parcel(webhook, delivery, attempt, keyring, settings))
        for delivery, attempt in taken
    ]


def record(claimed: Claimed, outcome: Outcome, pause_seconds: float | None, settings: Settings) -> None:
    """Write down what came of an attempt, and disable a webhook that is gone or has failed for too long.

    Args:
        pause_seconds: until the next attempt, should this one have failed; None: there is none.
    """

    def write() -> None:
        # Webhook, delivery, attempt: in this order, as they are claimed and deleted, so that nobody waits for each other.
        held = locking(Webhook.select().where(Webhook.id == claimed.webhook.id), Webhook, referable=True)
        webhook: Webhook | None = held.first()
        if webhook is None:
            return
        counts = _write(claimed.delivery, webhook, outcome, pause_seconds)
        claimed.attempt.end(outcome.duration_ms, outcome.status_code, outcome.error, outcome.detail)
        if counts and outcome.error is None:
            webhook.note_success()
        elif counts:
            webhook.note_failure(now())
            _disable_hopeless(webhook, outcome, settings)

    transact(write)


def prune(settings: Settings) -> None:
    """Forget events that are too old, with their deliveries, and secrets that nothing is signed with any more."""
    transact(lambda: Webhook.forget_old_secrets(now()))
    before = now() - timedelta(days=settings.webhook_days)
    while transact(lambda: forget_before(before, _BATCH)) == _BATCH:
        pass


def _write(
    delivery: WebhookDelivery, webhook: Webhook, outcome: Outcome, pause_seconds: float | None
) -> bool:
    """Write down what an attempt means for its delivery; False: nothing, another one has begun."""
    if outcome.error is None:
        assert outcome.status_code is not None
        return delivery.mark_succeeded(outcome.status_code)
    if pause_seconds is None or not webhook.enabled or outcome.status_code == _GONE:
        return delivery.mark_failed(outcome.error, outcome.status_code)
    return delivery.put_off(outcome.error, outcome.status_code, now() + timedelta(seconds=pause_seconds))


def _disable_hopeless(webhook: Webhook, outcome: Outcome, settings: Settings) -> None:
    """Disable a webhook whose receiver says that it is gone, or that has failed for too long; last in a transaction."""
    if not webhook.enabled:
        return
    if outcome.status_code == _GONE:
        reason, said = DisabledReason.GONE, "The receiver answered 410."
    elif webhook.failing_since and now() - webhook.failing_since > timedelta(
        days=settings.webhook_disable_days
    ):
        reason = DisabledReason.FAILING
        said = f"Nothing could be delivered for {settings.webhook_disable_days} days."
    else:
        return
    webhook.disable(reason)
    log.warning("Webhook %s (%s) is disabled: %s", webhook.id, webhook.target, said)
    records.record(
        records.Event(
            "webhook.disable",
            source=records.WORKER,
            resource_type="webhook",
            resource_id=webhook.id,
            message=said,
            before=_shown(enabled=True),
            after=_shown(enabled=False, disabled_reason=reason),
        )
    )


def _shown(**columns: object) -> Mapping[str, object]:
    return {"webhook": columns}


def _parcel(
    webhook: Webhook, delivery: WebhookDelivery, attempt: WebhookAttempt, keyring: Keyring, settings: Settings
) -> Parcel | None:
    names = [webhook.secret_reference]
    if webhook.old_secret_until and webhook.old_secret_until > attempt.at:
        names.append(webhook.old_secret_reference)
    try:
        return Parcel(
            receiver=Receiver.parse(Secret.read(keyring, webhook.url_reference)),
            networks=networks_for(webhook.owner_id, settings),
            event_id=delivery.event.id,
            body=delivery.event.body_for(webhook).encode(),
            keys=tuple(key_of(Secret.read(keyring, name)) for name in names),
            at=attempt.at,
        )
    except (SecretError, ValueError) as error:  # neither says anything of the values
        log.warning("Webhook %s cannot be called: %s", webhook.id, error)
        return None
