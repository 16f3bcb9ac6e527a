"""All webhooks: the operators', which are told of everything, and those of owners."""

from jotunheim.data.webhook.requests import WebhookChange, WebhookSpec
from jotunheim.data.webhook.view import DeliveryAnswer, WebhookAnswer, WebhookList, WebhookSecretAnswer
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import WebhookListQuery
from jotunheim.routes.webhooks import PATH, READ, WRITE, WebhookModule, add_webhooks
from jotunheim.services.webhooks import hooks

operations = Operations("/admin", role="admin")
MODULE = WebhookModule(
    operations, lambda _: None, WebhookChange, WebhookAnswer, WebhookSecretAnswer, DeliveryAnswer
)


@operations.get(PATH, scope=READ, answer=WebhookList, query=WebhookListQuery)
def list_webhooks(call: Call[None, WebhookListQuery]) -> Reply:
    """List webhooks, those of owners too."""
    query = call.query
    found = hooks.list_webhooks(query.wanted_page(), query.filters(), call.actor, call.context.keyring)
    return Reply(WebhookList.model_validate({"webhooks": found.items, "meta": found.meta()}))


@operations.post(PATH, scope=WRITE, body=WebhookSpec, answer=WebhookSecretAnswer, status=201)
def create_webhook(call: Call[WebhookSpec, NoQuery]) -> Reply:
    """Add a webhook. Its secret is answered once."""
    context = call.context
    webhook, secret = hooks.create_webhook(call.body, call.body.owner_id, context.keyring, context.settings)
    return MODULE.shown(call, webhook, secret)


add_webhooks(MODULE)
