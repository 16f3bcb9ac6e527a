"""Deliveries: leases, pauses, whose turn it is, and when a webhook is given up. Real requests are in tests/end_to_end."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jotunheim.data.webhook.kinds import AttemptError, DeliveryStatus, EventKind
from jotunheim.data.webhook.requests import SecretRotation, WebhookSpec
from jotunheim.data.webhook.url import MAX_URL
from jotunheim.exceptions.service import RateLimitExceededError
from jotunheim.jobs.webhook import backoff
from jotunheim.jobs.webhook.deliverer import CALLS_AT_ONCE, Deliverer
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.announcements import announce_to
from jotunheim.repositories.peewee.audit import AuditEntry
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookAttempt, WebhookDelivery, WebhookEvent
from jotunheim.services.webhooks import deliveries, hooks, outgoing
from jotunheim.services.webhooks.outgoing import Claimed, Outcome
from jotunheim.settings import Settings

KEYRING = Keyring(["Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E="])
REFUSED = Outcome(503, AttemptError.STATUS, "It answered 503.", 5)
TAKEN = Outcome(204, duration_ms=5)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> Iterator[Settings]:
    """An empty, migrated SQLite database."""
    made = Settings(state_dir=tmp_path)
    database.connect(made)
    database.migrate()
    yield made
    database.database.close()


def _webhook(settings: Settings, owner: User | None = None) -> Webhook:
    spec = WebhookSpec(url="https://receiver.example/", events=["job.failed"])
    return hooks.create_webhook(spec, owner and owner.id, KEYRING, settings)[0]


def _told(webhook: Webhook, times: int = 1) -> list[WebhookDelivery]:
    return [announce_to(webhook, EventKind.TEST, ("webhook", webhook.id), {}) for _ in range(times)]


def _claim(webhook: Webhook, settings: Settings, owner: str = "one", seconds: float = 30) -> list[Claimed]:
    return outgoing.claim(webhook, owner, seconds, 10, KEYRING, settings)


def _status(delivery: WebhookDelivery) -> tuple[str, str | None]:
    row = WebhookDelivery.get_by_id(delivery.id)
    return row.status, row.error


def test_one_that_is_claimed_is_not_claimed_again_while_its_lease_lasts(settings: Settings) -> None:
    webhook = _webhook(settings)
    _told(webhook)
    assert WebhookDelivery.waiting_webhooks(now()) == [webhook]
    [first] = _claim(webhook, settings)
    assert first.parcel is not None
    assert first.parcel.body.startswith(b'{"id":"')
    assert (WebhookDelivery.waiting_webhooks(now()), _claim(webhook, settings, "two")) == ([], [])


def test_an_expired_lease_passes_on_and_a_late_outcome_counts_no_more(settings: Settings) -> None:
    webhook = _webhook(settings)
    [delivery] = _told(webhook)
    [first] = _claim(webhook, settings, seconds=-1)
    [second] = _claim(webhook, settings, "two")
    assert [(one.error, one.duration_ms) for one in WebhookAttempt.of(delivery)] == [
        (AttemptError.INTERRUPTED, None),
        (None, None),
    ]
    outgoing.record(first, REFUSED, None, settings)
    assert _status(delivery) == (DeliveryStatus.PENDING, None)
    assert Webhook.get().failing_since is None
    outgoing.record(second, TAKEN, 5, settings)
    assert _status(delivery) == (DeliveryStatus.SUCCEEDED, None)
    assert [one.status_code for one in WebhookAttempt.of(delivery)] == [503, 204]


def test_what_was_given_up_when_its_worker_was_killed_can_be_replayed(settings: Settings) -> None:
    webhook = _webhook(settings)
    [delivery] = _told(webhook)
    _claim(webhook, settings, seconds=-1)
    webhook.disable(None)
    webhook.change(enabled=True)
    assert _status(delivery)[0] == DeliveryStatus.FAILED
    deliveries.replay(webhook, delivery)
    assert [claimed.delivery for claimed in _claim(webhook, settings, "two")] == [delivery]


@pytest.mark.parametrize("name", ["url_reference", "secret_reference"])
def test_a_url_or_secret_that_is_none_holds_up_nothing(settings: Settings, name: str) -> None:
    webhook = _webhook(settings)
    _told(webhook)
    Secret.put(KEYRING, getattr(webhook, name), "nonsense")
    [claimed] = _claim(webhook, settings)
    assert claimed.parcel is None


def test_what_a_webhook_is_told_ends_with_it_even_while_it_is_called(settings: Settings) -> None:
    webhook = _webhook(settings)
    _told(webhook)
    [claimed] = _claim(webhook, settings)
    webhook.forget()
    outgoing.record(claimed, REFUSED, 5, settings)
    assert (WebhookDelivery.select().count(), WebhookAttempt.select().count()) == (0, 0)


def test_owners_who_are_disabled_are_not_called(settings: Settings) -> None:
    owner = User.create(email="o@example.com", name="O", role="client")
    webhook = _webhook(settings, owner)
    _told(webhook)
    owner.change(disabled_at=now())
    assert WebhookDelivery.waiting_webhooks(now()) == []
    owner.change(disabled_at=None)
    assert WebhookDelivery.waiting_webhooks(now()) == [webhook]


def test_a_webhook_that_fails_for_days_is_disabled_and_what_waits_has_failed(settings: Settings) -> None:
    webhook = _webhook(settings)
    told = _told(webhook, 3)
    one, two, _ = _claim(webhook, settings)
    outgoing.record(one, REFUSED, 5, settings)
    since = Webhook.get().failing_since
    assert since is not None
    outgoing.record(two, TAKEN, 5, settings)
    assert Webhook.get().failing_since is None
    Webhook.update(failing_since=now() - timedelta(days=settings.webhook_disable_days, minutes=1)).execute()
    WebhookDelivery.update(due_at=now()).where(WebhookDelivery.id == told[0].id).execute()
    [again] = _claim(webhook, settings)
    outgoing.record(again, REFUSED, 5, settings)
    found = Webhook.get()
    assert (found.enabled, found.disabled_reason) == (False, "failing")
    assert [_status(each)[0] for each in told] == ["failed", "succeeded", "failed"]
    [entry] = AuditEntry.select().where(AuditEntry.action == "webhook.disable")
    assert (entry.source, entry.resource_id, entry.message) == (
        "worker", str(webhook.id), "Nothing could be delivered for 5 days.",
    )  # fmt: skip


def test_what_is_too_old_is_forgotten_with_its_log(settings: Settings) -> None:
    webhook = _webhook(settings)
    old, new = _told(webhook, 2)
    _claim(webhook, settings)
    long_ago = now() - timedelta(days=settings.webhook_days, minutes=1)
    WebhookEvent.update(created_at=long_ago).where(WebhookEvent.id == old.event_id).execute()
    outgoing.prune(settings)
    assert [row.id for row in WebhookDelivery.select()] == [new.id]
    assert [row.delivery_id for row in WebhookAttempt.select()] == [new.id]


def test_an_old_secret_is_erased_when_nothing_is_signed_with_it_any_more(settings: Settings) -> None:
    webhook = _webhook(settings)
    hooks.rotate_secret(webhook, SecretRotation(overlap_seconds=60), KEYRING)
    outgoing.prune(settings)
    _told(webhook)
    [claimed] = _claim(webhook, settings)
    assert claimed.parcel is not None
    assert len(claimed.parcel.keys) == 2
    Webhook.update(old_secret_until=now() - timedelta(seconds=1)).execute()
    outgoing.prune(settings)
    assert not Secret.exists(webhook.old_secret_reference)
    assert Webhook.get().old_secret_until is None
    assert Secret.exists(webhook.secret_reference)


def test_the_longest_url_is_kept(settings: Settings) -> None:
    host = ".".join(["a" * 63] * 3 + ["b" * 61])
    url = f"https://{host}:65535/"
    made, _ = hooks.create_webhook(WebhookSpec(url=url + "c" * (MAX_URL - len(url))), None, KEYRING, settings)
    assert made.target == url.removesuffix("/")
    assert len(made.target) <= Webhook.target.max_length


def test_pauses_grow_for_about_a_day(settings: Settings) -> None:
    pauses = [backoff.pause(attempt, None, settings) for attempt in range(1, backoff.MAX_ATTEMPTS + 1)]
    assert pauses[-1] is None
    known = [pause for pause in pauses if pause is not None]
    assert 4 <= known[0] <= 6
    assert all(pause <= 1.2 * 6 * 3600 for pause in known)
    assert 0.8 * 25.5 * 3600 < sum(known) < 1.2 * 25.7 * 3600


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(None, 4, 6), (1, 4, 6), (60, 60, 60), (10**9, 6 * 3600, 6 * 3600), (-5, 4, 6)],
)
def test_a_receiver_can_ask_for_a_longer_pause_within_bounds(
    settings: Settings, asked: float | None, least: float, most: float
) -> None:
    pause = backoff.pause(1, asked, settings)
    assert pause is not None
    assert least <= pause <= most


def test_owners_cannot_have_a_flood_sent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "OWNERS_CALLS_AN_HOUR", 3)
    owner = User.create(email="o@example.com", name="O", role="client")
    theirs, operators = _webhook(settings, owner), _webhook(settings)
    for _ in range(3):
        told = deliveries.test(theirs)
        deliveries.test(operators)
        _claim(theirs, settings)
        _claim(operators, settings)
    deliveries.test(operators)
    for ask in (
        lambda: deliveries.test(theirs),
        lambda: deliveries.replay(theirs, told),
        lambda: deliveries.replay_failed(theirs, now()),
    ):
        with pytest.raises(RateLimitExceededError) as refused:
            ask()
        assert 3590 <= (refused.value.retry_after_seconds or 0) <= 3600
    WebhookAttempt.update(at=now() - timedelta(hours=1, seconds=1)).execute()
    deliveries.test(theirs)


class _Holding:
    """A sender that holds everything back until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def send(self, _: Any) -> Outcome:
        self.go_on.wait(20)
        return TAKEN


def test_nobody_takes_more_than_a_share(settings: Settings) -> None:
    """An owner with many webhooks has as much as one with one; one that fails has one call at a time."""
    owner = User.create(email="o@example.com", name="O", role="client")
    many = [_webhook(settings, owner) for _ in range(5)]
    failing, other = _webhook(settings), _webhook(settings)
    failing.note_failure(now())
    for webhook in (*many, failing, other):
        _told(webhook, 10)
    sender, stopping = _Holding(), threading.Event()
    deliverer = Deliverer(settings, KEYRING, "w", stopping)
    deliverer.__dict__["_sender"] = sender

    def under_way(*webhooks: Webhook) -> int:
        held = WebhookDelivery.lease_owner.is_null(False)
        return int(WebhookDelivery.select().where(WebhookDelivery.webhook.in_(webhooks) & held).count())

    thread = threading.Thread(target=deliverer.run)
    thread.start()
    try:
        for _ in range(200):
            if under_way(*many, failing, other) >= 2 * CALLS_AT_ONCE + 1:
                break
            stopping.wait(0.05)
        stopping.wait(0.6)
        assert (under_way(*many), under_way(failing), under_way(other)) == (CALLS_AT_ONCE, 1, CALLS_AT_ONCE)
        sender.go_on.set()
        for _ in range(400):
            if not WebhookDelivery.select().where(WebhookDelivery.status == "pending").count():
                break
            stopping.wait(0.05)
        assert WebhookDelivery.select().where(WebhookDelivery.status == "succeeded").count() == 70
    finally:
        sender.go_on.set()
        stopping.set()
        thread.join(20)
