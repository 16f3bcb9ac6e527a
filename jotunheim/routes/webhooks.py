"""What operators and owners alike can ask about webhooks: one at a time, its secret, what it was told, and to tell it again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jotunheim.data.webhook.requests import (
    ClientWebhookChange,
    ReplayRequest,
    SecretRotation,
)
from jotunheim.data.webhook.view import DeliveryList, QueuedDelivery, ReplayAnswer
from jotunheim.repositories.peewee.webhooks import Webhook
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import DeliveryListQuery
from jotunheim.services.webhooks import deliveries, hooks

PATH = "/webhooks"
ONE = PATH + "/{id:row}"
DELIVERIES = ONE + "/deliveries"
DELIVERY = DELIVERIES + "/{delivery_id:row}"
READ, WRITE = "webhooks:read", hooks.WRITE


@dataclass(frozen=True)
class WebhookModule:
    """What one of the API's modules has of webhooks.

    Attributes:
        owner_id: whose webhooks somebody may ask about; None: everybody's.
        change: what can be changed of one.
        answer, answer_secret, answer_delivery: the shapes of answers.
    """

    operations: Operations
    owner_id: Callable[[Call[Any, Any]], int | None]
    change: type[ClientWebhookChange]
    answer: type[BaseModel]
    answer_secret: type[BaseModel]
    answer_delivery: type[BaseModel]

    def find(self, call: Call[Any, Any]) -> Webhook:
        """The webhook in the path."""
        return hooks.find(call.path["id"], self.owner_id(call), call.if_match)

    def shown(self, call: Call[Any, Any], webhook: Webhook, secret: str | None = None) -> Reply:
        """The answer that shows a webhook, with its secret when that is new."""
        view = hooks.view(webhook, call.actor, call.context.keyring).model_dump()
        if secret is None:
            return Reply(self.answer.model_validate({"webhook": view}), etag=webhook.version)
        body = self.answer_secret.model_validate({"webhook": view, "secret": secret})
        return Reply(body, etag=webhook.version)


def add_webhooks(module: WebhookModule) -> None:
    """Register the requests with a module's operations."""
    _add_changes(module)
    _add_deliveries(module)


def _add_changes(module: WebhookModule) -> None:
    operations = module.operations

    @operations.get(ONE, scope=READ, answer=module.answer)
    def read_webhook(call: Call[None, NoQuery]) -> Reply:
        """Show a webhook; its URL only to those who may write webhooks."""
        return module.shown(call, module.find(call))

    @operations.patch(ONE, scope=WRITE, body=module.change, answer=module.answer)
    def change_webhook(call: Call[ClientWebhookChange, NoQuery]) -> Reply:
        """Change a webhook."""
        webhook = module.find(call)
        hooks.change_webhook(webhook, call.body, call.context.keyring, call.context.settings)
        return module.shown(call, webhook)

    @operations.delete(ONE, scope=WRITE, answer=module.answer)
    def delete_webhook(call: Call[None, NoQuery]) -> Reply:
        """Remove a webhook, with the log of its deliveries."""
        webhook = module.find(call)
        reply = module.shown(call, webhook)
        webhook.forget()
        return Reply(reply.body)

    @operations.post(
        ONE + "/rotate-secret", scope=WRITE, body=SecretRotation, answer=module.answer_secret, status=200
    )
    def rotate_webhook_secret(call: Call[SecretRotation, NoQuery]) -> Reply:
        """Give a webhook another secret; for a while, bodies are signed with the one before it, too."""
        webhook = module.find(call)
        secret = hooks.rotate_secret(webhook, call.body, call.context.keyring)
        return module.shown(call, webhook, secret)


def _add_deliveries(module: WebhookModule) -> None:
    operations = module.operations

    @operations.post(ONE + "/test", scope=WRITE, answer=QueuedDelivery, status=202)
    def test_webhook(call: Call[None, NoQuery]) -> Reply:
        """Send a webhook the event `webhook.test`."""
        return Reply(QueuedDelivery(delivery=deliveries.view(deliveries.test(module.find(call)))))

    @operations.post(ONE + "/replay", scope=WRITE, body=ReplayRequest, answer=ReplayAnswer, status=202)
    def replay_webhook(call: Call[ReplayRequest, NoQuery]) -> Reply:
        """Deliver after all what failed since a time."""
        return Reply(ReplayAnswer(replayed=deliveries.replay_failed(module.find(call), call.body.since)))

    @operations.get(DELIVERIES, scope=READ, answer=DeliveryList, query=DeliveryListQuery)
    def list_deliveries(call: Call[None, DeliveryListQuery]) -> Reply:
        """List what a webhook was told, or is to be told, the newest first."""
        query = call.query
        found = deliveries.list_deliveries(module.find(call), query.wanted_page(), query.filters())
        return Reply(DeliveryList.model_validate({"deliveries": found.items, "meta": found.meta()}))

    @operations.get(DELIVERY, scope=READ, answer=module.answer_delivery)
    def read_delivery(call: Call[None, NoQuery]) -> Reply:
        """Show a delivery: what is sent, and each attempt."""
        webhook = module.find(call)
        shown = deliveries.detail(webhook, deliveries.find(webhook, call.path["delivery_id"]))
        return Reply(module.answer_delivery.model_validate({"delivery": shown.model_dump()}))

    @operations.post(DELIVERY + "/replay", scope=WRITE, answer=QueuedDelivery, status=202)
    def replay_delivery(call: Call[None, NoQuery]) -> Reply:
        """Deliver an event once more, or at once where an attempt is due later."""
        webhook = module.find(call)
        delivery = deliveries.find(webhook, call.path["delivery_id"])
        deliveries.replay(webhook, delivery)
        return Reply(QueuedDelivery(delivery=deliveries.view(deliveries.find(webhook, delivery.id))))
