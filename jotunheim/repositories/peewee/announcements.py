"""Announces what webhooks are told: the event is committed with what it tells of, or not at all (a transactional outbox)."""

import uuid
from collections.abc import Mapping, Sequence
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

    One query when no webhook wants it. Nothing is sent here: workers do, after the commit. Webhooks that want it are kept from being
    deleted, so call it before whatever takes the audit log's lock.

    Args:
        owner_id: whose server it is about; None: it is nothing of any owner's, and only operators are told.
        resource: what it is about, e.g. `("server", server.id)`.
        data: what owner and operators are told: nothing of nodes and storages, and no secrets.
        operators: what operators are told besides, or in place of a part of `data`.
    """
    webhooks = Webhook.wanting(kind, owner_id)
    if not webhooks:
        return
    _record(webhooks, kind, resource, data, {**data, **(operators or {})})


def announce_to(
    webhook: Webhook, kind: EventKind, resource: tuple[str, object], data: Mapping[str, Any]
) -> WebhookDelivery:
    """Let one webhook be told of something, whatever else it wants to be told; the rest as `announce`."""
    return _record([webhook], kind, resource, data, data)[0]


def _record(
    webhooks: Sequence[Webhook],
    kind: EventKind,
    resource: tuple[str, object],
    to_owner: Mapping[str, Any],
    to_operators: Mapping[str, Any],
) -> list[WebhookDelivery]:
    at, id_ = now(), uuid.uuid4()
    of_operators = {webhook.owner_id is None for webhook in webhooks}
    announced = WebhookEvent.create(
        id=id_,
        type=kind,
        resource_type=resource[0],
        resource_id=str(resource[1]),
        operators_body=event.body(id_, kind, at, resource, to_operators) if True in of_operators else None,
        owners_body=event.body(id_, kind, at, resource, to_owner) if False in of_operators else None,
        created_at=at,
    )
    return WebhookDelivery.plan(announced, webhooks, at)
