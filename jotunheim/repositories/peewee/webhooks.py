"""Webhooks and what they are told: events, one delivery of an event to each webhook that wants it, and the attempts.

Events are committed with what they tell of, see `announcements`. A claim of a delivery is a lease, as of a job: owner, expiry,
and the number of the attempt, which an outcome must show.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from peewee import (
    JOIN,
    AutoField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
    UUIDField,
    fn,
)

from jotunheim.data.webhook.kinds import ALL, AttemptError, DeliveryStatus, DisabledReason, EventKind
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, now, undeletable
from jotunheim.repositories.peewee.secrets import Secret


class Webhook(Versioned, Table):
    """A receiver. Its URL and its secrets are secrets of the store: a URL may be all that a receiver asks for."""

    id = AutoField()
    owner = ForeignKeyField(User, backref="webhooks", null=True, on_delete="CASCADE")
    owner_id: int | None
    """It is told of this user's servers, as owners are told; None: of everything, as operators are."""
    target = CharField(max_length=300)
    """What may be shown of the URL: scheme, host, port."""
    description = CharField(default="")
    events = JSONField(default=list)
    enabled = BooleanField(default=True)
    disabled_reason = CharField(max_length=16, null=True)
    """A `DisabledReason`; None: it is enabled, or somebody has disabled it."""
    failing_since = UtcField(null=True)
    """When the first attempt failed after the last one that succeeded."""
    old_secret_until = UtcField(null=True)
    """Until when bodies are signed with the secret before this one, too."""
    created_at = UtcField(default=now)
    updated_at = UtcField(default=now)

    @property
    def url_reference(self) -> str:
        """Name of the secret that is its URL."""
        return f"webhook/{self.id}/url"

    @property
    def secret_reference(self) -> str:
        """Name of the secret that bodies are signed with."""
        return f"webhook/{self.id}/secret"

    @property
    def old_secret_reference(self) -> str:
        """Name of the one before it."""
        return f"webhook/{self.id}/secret-old"

    @classmethod
    def matching(cls, owner_id: int | None = None) -> Any:
        """A select of all webhooks, or those of one owner."""
        return cls.select() if owner_id is None else cls.select().where(cls.owner == owner_id)

    @classmethod
    def count_of(cls, owner_id: int | None) -> int:
        """How many webhooks an owner has; None: the operators."""
        same = cls.owner.is_null() if owner_id is None else cls.owner == owner_id
        return int(cls.select().where(same).count())

    @classmethod
    def wanting(cls, kind: EventKind, owner_id: int | None) -> "list[Webhook]":
        """Those that shall be told of something about this owner's; they are not deleted until the transaction ends."""
        concerned = cls.owner.is_null()
        if owner_id is not None:
            able = User.select(User.id).where((User.id == owner_id) & User.disabled_at.is_null())
            concerned |= cls.owner.in_(able)
        found = undeletable(cls.select().where(cls.enabled & concerned).order_by(cls.id), cls)
        return [webhook for webhook in found if ALL in webhook.events or kind in webhook.events]

    def disable(self, reason: DisabledReason | None) -> None:
        """Tell it nothing any more; what it was not told yet has failed.

        Args:
            reason: None: somebody wants it so.
        """
        self.change(enabled=False, disabled_reason=reason)
        WebhookDelivery.give_up(self)

    def note_success(self) -> None:
        """It was told something."""
        if self.failing_since is not None:
            self._note_failing(None)

    def note_failure(self, at: datetime) -> None:
        """It could not be told something."""
        if self.failing_since is None:
            self._note_failing(at)

    def _note_failing(self, since: datetime | None) -> None:
        """Not `change`: nothing that a caller may set is changed."""
        Webhook.update(failing_since=since).where(Webhook.id == self.id).execute()
        self.failing_since = since

    def forget(self) -> None:
        """Remove it with its secrets and all that it was told."""
        for reference in (self.url_reference, self.secret_reference, self.old_secret_reference):
            Secret.erase(reference)
        self.delete_instance()

    @classmethod
    def forget_old_secrets(cls, at: datetime) -> None:
        """Erase the secrets that are no longer signed with since a time."""
        expired = cls.old_secret_until < at
        for webhook in cls.select().where(expired):
            # Asked once more, in the row: it may have got another secret since, and this one is the old one now.
            if cls.update(old_secret_until=None).where((cls.id == webhook.id) & expired).execute():
                Secret.erase(webhook.old_secret_reference)

    @classmethod
    def forget_all_of(cls, owner_id: int) -> None:
        """Remove an owner's."""
        for webhook in cls.select().where(cls.owner == owner_id):
            webhook.forget()


class WebhookEvent(Table):
    """Something that happened, as receivers are told of it."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    type = CharField(max_length=32)
    resource_type = CharField(max_length=32)
    resource_id = CharField()
    operators_body = TextField(null=True)
    """JSON, to the byte as it is sent; None: no operators' webhook wants it."""
    owners_body = TextField(null=True)
    created_at = UtcField(default=now, index=True)

    class Meta:
        table_name = "webhook_event"

    def body_for(self, webhook: Webhook) -> str:
        """What is sent to a webhook."""
        return str(self.operators_body if webhook.owner_id is None else self.owners_body)


class WebhookDelivery(Table):
    """One event for one webhook."""

    id = AutoField()
    webhook = ForeignKeyField(Webhook, backref="deliveries", on_delete="CASCADE", index=False)
    webhook_id: int
    event = ForeignKeyField(WebhookEvent, backref="deliveries", on_delete="CASCADE")
    event_id: uuid.UUID
    status = CharField(max_length=16, default=DeliveryStatus.PENDING)
    attempts = IntegerField(default=0)
    """Since it was last asked for."""
    due_at = UtcField(null=True)
    """When the next attempt is due; None: there is none to come."""
    lease_owner = CharField(null=True)
    lease_expires_at = UtcField(null=True)
    status_code = IntegerField(null=True)
    """What the receiver answered last."""
    error = CharField(max_length=16, null=True)
    """An `AttemptError`, of the last attempt."""
    created_at = UtcField(default=now, index=True)
    finished_at = UtcField(null=True)

    class Meta:
        table_name = "webhook_delivery"
        indexes = ((("webhook", "event"), True), (("webhook", "created_at"), False))

    @classmethod
    def plan(cls, event: WebhookEvent, webhooks: Iterable[Webhook], at: datetime) -> "list[WebhookDelivery]":
        """Let webhooks be told of an event, from this time on."""
        return [cls.create(webhook=webhook, event=event, created_at=at, due_at=at) for webhook in webhooks]

    @classmethod
    def of(cls, webhook: Webhook) -> Any:
        """A select of a webhook's deliveries with their events."""
        return cls.select(cls, WebhookEvent).join(WebhookEvent).where(cls.webhook == webhook)

    @classmethod
    def waiting_webhooks(cls, at: datetime) -> list[Webhook]:
        """Webhooks that are to be called now, first the one that has waited longest."""
        query = (
            Webhook.select(Webhook)
            .join(cls)
            .join_from(Webhook, User, JOIN.LEFT_OUTER)
            .where(Webhook.enabled & User.disabled_at.is_null() & _is_due(at))
            .group_by(Webhook.id)
            .order_by(fn.MIN(cls.due_at), Webhook.id)
        )
        return list(query)

    @classmethod
    def claim(
        cls, webhook: Webhook, lease_owner: str, lease_seconds: float, limit: int
    ) -> "list[tuple[WebhookDelivery, WebhookAttempt]]":
        """Take deliveries of a webhook that are due, and record that they are attempted; those that wait longest."""
        at = now()
        due = cls.of(webhook).where(_is_due(at)).order_by(cls.due_at, cls.id).limit(limit)
        claimed = []
        for delivery in list(due):
            taken = cls.update(
                attempts=cls.attempts + 1,
                lease_owner=lease_owner,
                lease_expires_at=at + timedelta(seconds=lease_seconds),
            )
            if not taken.where((cls.id == delivery.id) & _is_due(at)).execute():
                continue
            delivery.attempts, delivery.lease_owner = delivery.attempts + 1, lease_owner
            WebhookAttempt.note_interrupted(delivery)
            claimed.append((delivery, WebhookAttempt.create(delivery=delivery, at=at)))
        return claimed

    def mark_succeeded(self, status_code: int) -> bool:
        """The receiver has it; False: another attempt has begun, or it is gone."""
        return self._end(DeliveryStatus.SUCCEEDED, status_code=status_code, error=None)

    def mark_failed(self, error: AttemptError, status_code: int | None) -> bool:
        """The receiver does not have it, and no attempt is to come; returns as `mark_succeeded`."""
        return self._end(DeliveryStatus.FAILED, status_code=status_code, error=error)

    def put_off(self, error: AttemptError, status_code: int | None, due_at: datetime) -> bool:
        """The receiver does not have it; it is called again at some time. Returns as `mark_succeeded`."""
        return self._write(
            status=DeliveryStatus.PENDING,  # it was given up, should somebody have disabled the webhook for a moment
            finished_at=None,
            status_code=status_code,
            error=error,
            due_at=due_at,
        )

    def ask_again(self) -> None:
        """Let it be attempted at once, as if it were new; one that is under way goes on."""
        at = now()
        asked = WebhookDelivery.update(**_ASKED, due_at=at)
        asked.where((WebhookDelivery.id == self.id) & _is_free(at)).execute()

    @classmethod
    def ask_failed_again(cls, webhook: Webhook, since: datetime) -> int:
        """The same for all that have failed, of events since a time; returns how many."""
        failed = (cls.webhook == webhook) & (cls.status == DeliveryStatus.FAILED) & (cls.created_at >= since)
        return int(cls.update(**_ASKED, due_at=now()).where(failed).execute())

    @classmethod
    def give_up(cls, webhook: Webhook) -> None:
        """Let everything have failed that waits."""
        cls.update(status=DeliveryStatus.FAILED, finished_at=now(), due_at=None).where(
            (cls.webhook == webhook) & (cls.status == DeliveryStatus.PENDING)
        ).execute()

    def _end(self, status: DeliveryStatus, **columns: object) -> bool:
        return self._write(status=status, finished_at=now(), due_at=None, **columns)

    def _write(self, **columns: object) -> bool:
        table = WebhookDelivery
        held = (table.id == self.id) & (table.attempts == self.attempts)
        held &= table.lease_owner == self.lease_owner
        written = table.update(lease_owner=None, lease_expires_at=None, **columns).where(held)
        return bool(written.execute())


_ASKED = {"status": DeliveryStatus.PENDING, "attempts": 0, "finished_at": None}


def _is_due(at: datetime) -> Any:
    pending = WebhookDelivery.status == DeliveryStatus.PENDING
    return pending & (WebhookDelivery.due_at <= at) & _is_free(at)


def _is_free(at: datetime) -> Any:
    return WebhookDelivery.lease_expires_at.is_null() | (WebhookDelivery.lease_expires_at < at)


WebhookDelivery.add_index(
    WebhookDelivery.index(
        WebhookDelivery.webhook,
        WebhookDelivery.due_at,
        name="webhook_delivery_pending",
        where=WebhookDelivery.status == DeliveryStatus.PENDING,
    )
)


class WebhookAttempt(Table):
    """One request to a receiver. It is recorded before it is made, so that one whose worker died is seen."""

    id = AutoField()
    delivery = ForeignKeyField(WebhookDelivery, backref="log", on_delete="CASCADE")
    delivery_id: int
    at = UtcField(default=now)
    duration_ms = IntegerField(null=True)
    """None: it has not ended, or its worker has not lived to see that."""
    status_code = IntegerField(null=True)
    error = CharField(max_length=16, null=True)
    """An `AttemptError`."""
    detail = CharField(null=True)
    """More about it, for operators."""

    class Meta:
        table_name = "webhook_attempt"

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> "list[WebhookAttempt]":
        """The attempts of a delivery, the oldest first."""
        return list(cls.select().where(cls.delivery == delivery).order_by(cls.id))

    @classmethod
    def nth_last(cls, webhook: Webhook, count: int, *, since: datetime) -> datetime | None:
        """When the attempt was made before which there were `count` - 1 later ones; None: there were fewer since a time."""
        made = cls.select(cls.at).join(WebhookDelivery).where(WebhookDelivery.webhook == webhook)
        found = made.where(cls.at >= since).order_by(cls.at.desc()).offset(count - 1).first()
        return found.at if found else None

    @classmethod
    def note_interrupted(cls, delivery: WebhookDelivery) -> None:
        """Whoever made an attempt that has not ended does not live any more."""
        cls.update(error=AttemptError.INTERRUPTED).where(
            (cls.delivery == delivery) & cls.duration_ms.is_null() & cls.error.is_null()
        ).execute()

    def end(
        self, duration_ms: int, status_code: int | None, error: AttemptError | None, detail: str | None
    ) -> None:
        """What came of it; whoever thought that its worker was dead was wrong."""
        WebhookAttempt.update(
            duration_ms=duration_ms, status_code=status_code, error=error, detail=detail
        ).where(WebhookAttempt.id == self.id).execute()


def forget_before(at: datetime, limit: int) -> int:
    """Forget events from before a time, with their deliveries; returns how many, at most `limit`."""
    old = WebhookEvent.select(WebhookEvent.id).where(WebhookEvent.created_at < at).limit(limit)
    return int(WebhookEvent.delete().where(WebhookEvent.id.in_(old)).execute())
