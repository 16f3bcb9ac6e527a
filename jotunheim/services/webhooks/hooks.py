"""Webhooks: adding, showing, changing, removing; and another secret for one."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from jotunheim.data.actor import Actor
from jotunheim.data.paging import Page, Paged
from jotunheim.data.webhook import secret as secrets
from jotunheim.data.webhook.kinds import OPERATORS_KINDS, DisabledReason
from jotunheim.data.webhook.requests import ClientWebhookChange, ClientWebhookSpec, SecretRotation
from jotunheim.data.webhook.url import Receiver
from jotunheim.data.webhook.view import WebhookView
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ResourceLimitExceededError
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.database import locking, now, serialize
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.webhooks import Webhook
from jotunheim.services import resources
from jotunheim.services.webhooks.addresses import is_permitted, networks_for
from jotunheim.settings import Settings

WRITE = "webhooks:write"
MAX_OF_AN_OWNER = 10
MAX_OF_OPERATORS = 100

FILTERS = {"enabled": Webhook.enabled, "owner_id": Webhook.owner}
SORTABLE = {
    "id": Webhook.id,
    "target": Webhook.target,
    "created_at": Webhook.created_at,
    "updated_at": Webhook.updated_at,
}


def find(id_: int, owner_id: int | None = None, if_match: str | None = None) -> Webhook:
    """A webhook; within a transaction nobody else changes it until that ends.

    Args:
        owner_id: only one of this user; None: any.
        if_match: the version that the caller knows.

    Raises:
        NotFoundError: there is none, or it is somebody else's.
        PreconditionFailedError: it has another version.
    """
    query = Webhook.matching(owner_id).where(Webhook.id == id_)
    webhook: Webhook | None = locking(query, Webhook, referable=True).first()
    if webhook is None:
        raise NotFoundError("webhook", id_)
    resources.assert_version("webhook", webhook, if_match)
    return webhook


def list_webhooks(
    page: Page, wanted: Mapping[str, Any], actor: Actor, keyring: Keyring, owner_id: int | None = None
) -> Paged[WebhookView]:
    """A page of all webhooks, or those of one owner, that these filters let through."""
    rows, total = paginate(narrowed(Webhook.matching(owner_id), FILTERS, wanted), page, SORTABLE)
    return Paged(views(rows, actor, keyring), page, total)


def create_webhook(
    spec: ClientWebhookSpec, owner_id: int | None, keyring: Keyring, settings: Settings
) -> tuple[Webhook, str]:
    """Add a webhook.

    Args:
        owner_id: whose servers it is told of; None: it is the operators', and told of everything.

    Returns:
        The webhook, and its secret.

    Raises:
        DataValidationError: it may not be called at this URL, the user is not there, or owners are not told of these events.
        ResourceLimitExceededError: there are as many as there may be.
    """
    receiver = _permitted(spec.url, owner_id, settings)
    _assert_for_owners(spec.events, owner_id)
    serialize(f"webhooks of {owner_id}")
    if owner_id is not None and not User.exists(owner_id):
        raise DataValidationError([FieldProblem("owner_id", f"there is no user {owner_id}")])
    limit = MAX_OF_OPERATORS if owner_id is None else MAX_OF_AN_OWNER
    if Webhook.count_of(owner_id) >= limit:
        raise ResourceLimitExceededError(f"There may be {limit} webhooks.", hint="Remove one first.")
    webhook: Webhook = Webhook.create(
        owner=owner_id,
        target=receiver.origin,
        description=spec.description,
        events=spec.events,
        enabled=spec.enabled,
    )
    secret = _chosen(spec.secret)
    Secret.put(keyring, webhook.url_reference, receiver.url)
    Secret.put(keyring, webhook.secret_reference, secret)
    return webhook, secret


def change_webhook(
    webhook: Webhook, change: ClientWebhookChange, keyring: Keyring, settings: Settings
) -> None:
    """Change a webhook. What it was not told yet when it is disabled, it is not told any more.

    Raises:
        DataValidationError: it may not be called at this URL, or owners are not told of these events.
    """
    columns = change.given()
    _assert_for_owners(columns.get("events", ()), webhook.owner_id)
    url = columns.pop("url", None)
    if url is not None:
        receiver = _permitted(url, webhook.owner_id, settings)
        Secret.put(keyring, webhook.url_reference, receiver.url)
        columns["target"] = receiver.origin
    if columns.pop("enabled", None) is False:
        webhook.disable(None)
    elif change.enabled:
        columns |= {"enabled": True, "disabled_reason": None, "failing_since": None}
    webhook.change(**columns)


def rotate_secret(webhook: Webhook, rotation: SecretRotation, keyring: Keyring) -> str:
    """Sign with another secret from now on, and for a while with the one before it, too; returns the new one."""
    secret = _chosen(rotation.secret)
    if rotation.overlap_seconds:
        old = Secret.read(keyring, webhook.secret_reference)
        Secret.put(keyring, webhook.old_secret_reference, old)
        webhook.change(old_secret_until=now() + timedelta(seconds=rotation.overlap_seconds))
    else:
        Secret.erase(webhook.old_secret_reference)
        webhook.change(old_secret_until=None)
    Secret.put(keyring, webhook.secret_reference, secret)
    return secret


def view(webhook: Webhook, actor: Actor, keyring: Keyring) -> WebhookView:
    """A webhook as the API shows it to somebody."""
    return views([webhook], actor, keyring)[0]


def views(webhooks: Sequence[Webhook], actor: Actor, keyring: Keyring) -> list[WebhookView]:
    """Webhooks as the API shows them to somebody; their URLs only to those who may write webhooks."""
    references = [webhook.url_reference for webhook in webhooks] if actor.may(WRITE) else []
    urls = Secret.read_all(keyring, references)
    return [_view(webhook, urls.get(webhook.url_reference)) for webhook in webhooks]


def _view(webhook: Webhook, url: str | None) -> WebhookView:
    until = webhook.old_secret_until
    return WebhookView(
        id=webhook.id,
        url=url,
        target=webhook.target,
        events=webhook.events,
        description=webhook.description,
        enabled=webhook.enabled,
        disabled_reason=DisabledReason(webhook.disabled_reason) if webhook.disabled_reason else None,
        failing_since=webhook.failing_since,
        old_secret_until=until if until and until > now() else None,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
        owner_id=webhook.owner_id,
    )


def _chosen(given: SecretStr | None) -> str:
    return secrets.generate() if given is None else given.get_secret_value()


def _permitted(url: str, owner_id: int | None, settings: Settings) -> Receiver:
    """A URL that may be called, as far as that is known without asking where its name leads. Raises DataValidationError."""
    receiver, networks = Receiver.parse(url), networks_for(owner_id, settings)
    plain = receiver.scheme == "http"
    if plain and not networks:
        raise DataValidationError([FieldProblem("url", "must begin with https://")])
    if receiver.address is not None and not is_permitted(receiver.address, networks, plain=plain):
        raise DataValidationError([FieldProblem("url", "must have a public address")])
    return receiver


def _assert_for_owners(events: Any, owner_id: int | None) -> None:
    """Raise DataValidationError when an owner's webhook shall be told of what owners are not told."""
    beyond = [name for name in events if name in OPERATORS_KINDS]
    if owner_id is not None and beyond:
        raise DataValidationError([FieldProblem("events", f"owners are not told of {', '.join(beyond)}")])
