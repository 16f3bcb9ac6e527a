"""Webhooks, what they are told, and the attempts to do so."""

from typing import Any

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    TextField,
    UUIDField,
)


def up(migrator: Any, db: Any) -> None:
    """Create the tables."""
    del migrator

    class User(Model):
        class Meta:
            database = db
            table_name = "user"

    class Webhook(Model):
        id = AutoField()
        owner = ForeignKeyField(User, null=True, on_delete="CASCADE")
        target = CharField(max_length=300)
        description = CharField()
        events = JSONField()
        enabled = BooleanField()
        disabled_reason = CharField(max_length=16, null=True)
        failing_since = BigIntegerField(null=True)
        old_secret_until = BigIntegerField(null=True)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "webhook"

    class WebhookEvent(Model):
        id = UUIDField(primary_key=True)
        type = CharField(max_length=32)
        resource_type = CharField(max_length=32)
        resource_id = CharField()
        operators_body = TextField(null=True)
        owners_body = TextField(null=True)
        created_at = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "webhook_event"

    class WebhookDelivery(Model):
        id = AutoField()
        webhook = ForeignKeyField(Webhook, on_delete="CASCADE", index=False)
        event = ForeignKeyField(WebhookEvent, on_delete="CASCADE")
        status = CharField(max_length=16)
        attempts = IntegerField()
        due_at = BigIntegerField(null=True)
        lease_owner = CharField(null=True)
        lease_expires_at = BigIntegerField(null=True)
        status_code = IntegerField(null=True)
        error = CharField(max_length=16, null=True)
        created_at = BigIntegerField(index=True)
        finished_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "webhook_delivery"
            indexes = ((("webhook", "event"), True), (("webhook", "created_at"), False))

    WebhookDelivery.add_index(
        WebhookDelivery.index(
            WebhookDelivery.webhook,
            WebhookDelivery.due_at,
            name="webhook_delivery_pending",
            where=WebhookDelivery.status == "pending",
        )
    )

    class WebhookAttempt(Model):
        id = AutoField()
        delivery = ForeignKeyField(WebhookDelivery, on_delete="CASCADE")
        at = BigIntegerField()
        duration_ms = IntegerField(null=True)
        status_code = IntegerField(null=True)
        error = CharField(max_length=16, null=True)
        detail = CharField(null=True)

        class Meta:
            database = db
            table_name = "webhook_attempt"

    db.create_tables([Webhook, WebhookEvent, WebhookDelivery, WebhookAttempt])
