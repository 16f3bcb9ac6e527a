"""What is shown of webhooks and their deliveries, and the envelopes of answers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from jotunheim.data.answers import Meta
from jotunheim.data.fields import View
from jotunheim.data.webhook.kinds import AttemptError, DeliveryStatus, DisabledReason, EventKind


class ClientWebhookView(View):
    """A receiver that is told of one's own servers."""

    id: int
    url: Annotated[str | None, Field(repr=False)]
    """null: your token or role lacks `webhooks:write`, and whoever knows a URL may be all that its receiver asks for."""
    target: str
    """Scheme, host and port of the URL."""
    events: list[str]
    description: str
    enabled: bool
    disabled_reason: DisabledReason | None
    """Why the service has disabled it: `gone`, it answered 410; `failing`, nothing was delivered for days."""
    failing_since: datetime | None
    """When the first attempt failed after the last one that succeeded."""
    old_secret_until: datetime | None
    """Until when bodies are signed with the secret before this one, too."""
    created_at: datetime
    updated_at: datetime


class WebhookView(ClientWebhookView):
    """A receiver."""

    owner_id: int | None
    """It is told of this user's servers; null: of everything."""


class ClientAttemptView(View):
    """One request to the receiver of one's own webhook."""

    at: datetime
    """Its seconds since 1970 were sent as `webhook-timestamp`."""
    duration_ms: int | None
    status_code: int | None
    error: AttemptError | None
    """null: it succeeded, or is under way."""


class AttemptView(ClientAttemptView):
    """One request to a receiver."""

    detail: str | None
    """More about the error."""


class DeliveryView(View):
    """One event for one webhook."""

    id: int
    event_id: UUID
    """Sent as `webhook-id`, in each attempt."""
    type: EventKind
    resource_type: str
    resource_id: str
    status: DeliveryStatus
    attempts: int
    """Since it was last asked for."""
    next_attempt_at: datetime | None
    status_code: int | None
    """What the receiver answered last."""
    error: AttemptError | None
    created_at: datetime
    finished_at: datetime | None


class ClientDeliveryDetail(DeliveryView):
    """One event for one's own webhook, with what is sent."""

    body: str
    """To the byte."""
    log: list[ClientAttemptView]
    """The oldest first."""


class DeliveryDetail(DeliveryView):
    """One event for one webhook, with what is sent."""

    body: str
    """To the byte."""
    log: list[AttemptView]
    """The oldest first."""


class WebhookList(View):
    """A page of webhooks."""

    webhooks: list[WebhookView]
    meta: Meta


class WebhookAnswer(View):
    """One webhook."""

    webhook: WebhookView


class WebhookSecretAnswer(WebhookAnswer):
    """One webhook with its secret, which is not shown again."""

    secret: Annotated[str, Field(repr=False)]


class ClientWebhookList(View):
    """A page of one's own webhooks."""

    webhooks: list[ClientWebhookView]
    meta: Meta


class ClientWebhookAnswer(View):
    """One of one's own webhooks."""

    webhook: ClientWebhookView


class ClientWebhookSecretAnswer(ClientWebhookAnswer):
    """One of one's own webhooks with its secret, which is not shown again."""

    secret: Annotated[str, Field(repr=False)]


class DeliveryList(View):
    """A page of a webhook's deliveries."""

    deliveries: list[DeliveryView]
    meta: Meta


class DeliveryAnswer(View):
    """One delivery."""

    delivery: DeliveryDetail


class ClientDeliveryAnswer(View):
    """One delivery of one's own webhook."""

    delivery: ClientDeliveryDetail


class QueuedDelivery(View):
    """A delivery that workers will attempt."""

    delivery: DeliveryView


class ReplayAnswer(View):
    """How many deliveries workers will attempt again."""

    replayed: int
