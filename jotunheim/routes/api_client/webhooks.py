"""The caller's own webhooks, which are told of the caller's own servers."""

from jotunheim.data.webhook.requests import ClientWebhookChange, ClientWebhookSpec
from jotunheim.data.webhook.view import (
    ClientDeliveryAnswer,
    ClientWebhookAnswer,
    ClientWebhookList,
    ClientWebhookSecretAnswer,
)
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import ClientWebhookListQuery
from jotunheim.routes.webhooks import PATH, READ, WRITE, WebhookModule, add_webhooks
from jotunheim.services.webhooks import hooks

operations = Operations("/client", role="client")
MODULE = WebhookModule(
    operations,
    lambda call: call.actor.user_id,
    ClientWebhookChange,
    ClientWebhookAnswer,
    ClientWebhookSecretAnswer,
    ClientDeliveryAnswer,
)


@operations.get(PATH, scope=READ, answer=ClientWebhookList, query=ClientWebhookListQuery)
def list_webhooks(call: Call[None, ClientWebhookListQuery]) -> Reply:
    """List your webhooks."""
    actor, query = call.actor, call.query
    found = hooks.list_webhooks(
        query.wanted_page(), query.filters(), actor, call.context.keyring, actor.user_id
    )
    shown = [webhook.model_dump() for webhook in found.items]
    return Reply(ClientWebhookList.model_validate({"webhooks": shown, "meta": found.meta()}))


@operations.post(PATH, scope=WRITE, body=ClientWebhookSpec, answer=ClientWebhookSecretAnswer, status=201)
def create_webhook(call: Call[ClientWebhookSpec, NoQuery]) -> Reply:
    """Add a webhook, which is told of your servers. Its secret is answered once."""
    context = call.context
    webhook, secret = hooks.create_webhook(call.body, call.actor.user_id, context.keyring, context.settings)
    return MODULE.shown(call, webhook, secret)


add_webhooks(MODULE)
