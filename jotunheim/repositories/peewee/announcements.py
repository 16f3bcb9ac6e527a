"""Announces what webhooks are told: the event is committed with what it tells of, or not at all (a transactional outbox)."""

import uuid
from collections.abc import Mapping
from typing import Any

from jotunheim.data.webhook import event
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookDelivery, WebhookEvent


def announce(
    kind: EventKind,
    *,
    owner_id: int | None,
    resource: tuple[str, object],
    data: Mapping[str, Any],
    operators: Mapping[str, Any] | None = None,
) -> None:
    """Let the webhooks that want it be told of something; call it in the transaction in which that comes about.

    One query when no webhook wants it. Nothing is sent here: workers do, after the commit.

    Args:
        owner_id: whose server it is about; None: it is nothing of any owner's, and only operators are told.
        resource: what it is about, e.g. `("server", server.id)`.
        data: what owner and operators are told: nothing of nodes and storages, and no secrets.
        operators: what operators are told besides, or in place of a part of `data`.
    """
    webhooks = Webhook.wanting(kind, owner_id)
    if not webhooks:
        return
    at, id_ = now(), uuid.uuid4()
    to_operators = any(webhook.owner_id is None for webhook in webhooks)
    to_owner = any(webhook.owner_id is not None for webhook in webhooks)
    told = {**data, **(operators or {})}
    announced = WebhookEvent.create(
        id=id_,
        type=kind,
        owner_id=owner_id,
        resource_type=resource[0],
        resource_id=str(resource[1]),
        operators_body=event.body(id_, kind, at, resource, told) if to_operators else None,
        owners_body=event.body(id_, kind, at, resource, data) if to_owner else None,
        created_at=at,
    )
    WebhookDelivery.plan(announced, webhooks, at)
