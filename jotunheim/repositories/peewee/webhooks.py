"""Webhooks and what they are told: events, one delivery of an event to each webhook that wants it, and the attempts.

Events are committed with what they tell of, see `announcements`. A claim of a delivery is a lease, as of a job: owner, expiry,
and the number of the attempt, which an outcome must show.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from peewee import (
    AutoField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
    UUIDField,
)

from jotunheim.data.webhook.kinds import DeliveryStatus, EventKind
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import Table, UtcField, Versioned, now, undeletable
from jotunheim.repositories.peewee.secrets import Secret

ALL = "*"
"""In place of the names of events: all of them."""


class Webhook(Versioned, Table):
    """A receiver. Its URL and its secrets are secrets of the store: a URL may be all that a receiver asks for."""

    id = AutoField()
    owner = ForeignKeyField(User, backref="webhooks", null=True, on_delete="CASCADE")
    owner_id: int | None
    """It is told of this user's servers, as owners are told; None: of everything, as operators are."""
    target = CharField()
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

    def forget(self) -> None:
        """Remove it with its secrets and all that it was told."""
        for reference in (self.url_reference, self.secret_reference, self.old_secret_reference):
            Secret.erase(reference)
        self.delete_instance()

    @classmethod
    def forget_all_of(cls, owner_id: int) -> None:
        """Remove an owner's."""
        for webhook in cls.select().where(cls.owner == owner_id):
            webhook.forget()


class WebhookEvent(Table):
    """Something that happened, as receivers are told of it."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    type = CharField(max_length=32)
    owner_id = IntegerField(null=True)
    """Whose it is; no reference, since it may outlive them by a moment."""
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
    def plan(cls, event: WebhookEvent, webhooks: Iterable[Webhook], at: datetime) -> None:
        """Let webhooks be told of an event, from this time on."""
        for webhook in webhooks:
            cls.create(webhook=webhook, event=event, created_at=at, due_at=at)


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
