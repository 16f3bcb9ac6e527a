"""What is asked about webhooks."""

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from jotunheim.data.fields import Change, Distinct, Id, Shape
from jotunheim.data.webhook.kinds import ALL, OPERATORS_KINDS, EventKind
from jotunheim.data.webhook.secret import SigningSecret
from jotunheim.data.webhook.url import ReceiverUrl

WANTED = (ALL, *(kind.value for kind in EventKind if kind is not EventKind.TEST))
CLIENTS_WANTED = tuple(name for name in WANTED if name not in OPERATORS_KINDS)
MAX_OVERLAP_SECONDS = 7 * 86_400


def _wanted(names: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return AfterValidator(check)


Event = Annotated[str, _wanted(WANTED), Field(json_schema_extra={"enum": [*WANTED]})]
ClientEvent = Annotated[str, _wanted(CLIENTS_WANTED), Field(json_schema_extra={"enum": [*CLIENTS_WANTED]})]
Events = Annotated[list[Event], Field(min_length=1, max_length=len(WANTED)), Distinct]
ClientEvents = Annotated[list[ClientEvent], Field(min_length=1, max_length=len(CLIENTS_WANTED)), Distinct]
Description = Annotated[str, Field(max_length=255)]


class ClientWebhookSpec(Shape):
    """A receiver that shall be told of one's own servers."""

    url: Annotated[ReceiverUrl, Field(repr=False)]
    """`https://…`; without user, password and fragment."""
    events: ClientEvents = [ALL]
    """What it is told; `*`: everything."""
    description: Description = ""
    enabled: bool = True
    secret: SigningSecret | None = None
    """What bodies are signed with: `whsec_` and 24 to 64 bytes in base64; None: it is made, and answered once."""


class WebhookSpec(ClientWebhookSpec):
    """A receiver."""

    events: Events = [ALL]
    """What it is told; `*`: everything."""
    owner_id: Id | None = None
    """It is told of this user's servers, and no more than they may know; null: of everything."""


class ClientWebhookChange(Change):
    """A change of a webhook."""

    url: Annotated[ReceiverUrl | None, Field(repr=False)] = None
    events: ClientEvents | None = None
    description: Description | None = None
    enabled: bool | None = None
    """False: what it was not told yet, it will not be told by itself."""


class WebhookChange(ClientWebhookChange):
    """A change of a webhook by an operator."""

    events: Events | None = None


class SecretRotation(Shape):
    """Another secret for a webhook."""

    secret: SigningSecret | None = None
    """None: it is made, and answered once."""
    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = 86_400
    """How long bodies are signed with the secret before it, too."""


class ReplayRequest(Shape):
    """What failed, and is to be delivered after all."""

    since: AwareDatetime
    """Events from then on."""
