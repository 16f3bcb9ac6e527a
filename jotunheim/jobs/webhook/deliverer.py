"""Delivers in one worker: claims what is due, lets threads send it, and records what came of it.

Only the thread that runs `Deliverer.run` uses the store. A webhook, and all webhooks of one owner together, are called a few times
at once, and one that fails only once at a time: however slow receivers are, others get their turn. A worker that is killed leaves
leases behind; when they expire, another one sends the same again.
"""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from jotunheim.data.webhook.kinds import AttemptError
from jotunheim.jobs.webhook import backoff
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookDelivery
from jotunheim.services.webhooks import outgoing
from jotunheim.services.webhooks.outgoing import Claimed, Outcome
from jotunheim.settings import Settings

if TYPE_CHECKING:
    from jotunheim.jobs.webhook.sending import Sender

POLL_SECONDS = 0.5
CALLS_AT_ONCE = 4
"""Of one webhook, and of all webhooks of one owner together."""
_UNREADABLE = Outcome(error=AttemptError.SETUP, detail="The URL or the secret cannot be read.")

log = logging.getLogger(__name__)


class Deliverer:
    """What a worker does for webhooks.

    Args:
        name: the worker's, as the owner of leases.
        stopping: set when the worker has to go.
    """

    def __init__(self, settings: Settings, keyring: Keyring, name: str, stopping: threading.Event) -> None:
        self._settings = settings
        self._keyring = keyring
        self._name = name
        self._stopping = stopping
        self._under_way: Counter[Hashable] = Counter()
        """Calls by webhook, and by who shares their number."""
        self._calls = 0
        self._ended: queue.Queue[tuple[Claimed, Outcome]] = queue.Queue()

    @cached_property
    def _sender(self) -> "Sender":
        """Loaded when there is something to be sent: most workers start without."""
        from jotunheim.jobs.webhook.sending import Sender

        return Sender(self._settings)

    def run(self) -> None:
        """Deliver until the worker stops; calls that are under way then are waited for and recorded."""
        with ThreadPoolExecutor(self._settings.webhook_concurrency, "webhook") as pool:
            while not self._stopping.is_set() or self._calls:
                try:
                    self._record_next()
                    if not self._stopping.is_set():
                        self._send_what_is_due(pool)
                except Exception:
                    log.exception("Webhooks could not be seen to; it is tried again.")
                    self._stopping.wait(POLL_SECONDS)

    def _send_what_is_due(self, pool: ThreadPoolExecutor) -> None:
        if self._calls >= self._settings.webhook_concurrency:
            return
        # Three times as long as a call may take: looking up a name is bounded by the resolver's own limits.
        lease_seconds = 3 * self._settings.webhook_timeout_seconds + self._settings.lease_seconds
        for webhook in WebhookDelivery.waiting_webhooks(now()):
            room = self._room(webhook)
            if room <= 0:
                continue
            for claimed in outgoing.claim(
                webhook, self._name, lease_seconds, room, self._keyring, self._settings
            ):
                self._count(webhook, 1)
                pool.submit(self._send, self._sender, claimed)

    def _send(self, sender: "Sender", claimed: Claimed) -> None:
        outcome = sender.send(claimed.parcel) if claimed.parcel else _UNREADABLE
        self._ended.put((claimed, outcome))

    def _record_next(self) -> None:
        """Record what has ended; wait a moment when nothing has."""
        try:
            claimed, outcome = self._ended.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        while True:
            self._count(claimed.webhook, -1)
            self._record(claimed, outcome)
            try:
                claimed, outcome = self._ended.get_nowait()
            except queue.Empty:
                return

    def _record(self, claimed: Claimed, outcome: Outcome) -> None:
        """What cannot be recorded is sent again when its lease has expired."""
        delivery = claimed.delivery
        pause = backoff.pause(delivery.attempts, outcome.retry_after_seconds, self._settings)
        outgoing.record(claimed, outcome, pause, self._settings)
        log.info(
            "Event %s for webhook %s (%s), attempt %s: %s.",
            delivery.event.id,
            claimed.webhook.id,
            claimed.webhook.target,
            delivery.attempts,
            outcome.error or outcome.status_code,
        )

    def _room(self, webhook: Webhook) -> int:
        """How many more calls of a webhook may be made now."""
        own = (1 if webhook.failing_since else CALLS_AT_ONCE) - self._under_way[webhook.id]
        shared = CALLS_AT_ONCE - self._under_way[_sharing(webhook)]
        return min(own, shared, self._settings.webhook_concurrency - self._calls)

    def _count(self, webhook: Webhook, change: int) -> None:
        self._calls += change
        self._under_way[webhook.id] += change
        self._under_way[_sharing(webhook)] += change


def _sharing(webhook: Webhook) -> Hashable:
    """Who shares a number of calls: an owner's webhooks; each of the operators' has its own."""
    return ("owner", webhook.owner_id) if webhook.owner_id is not None else ("webhook", webhook.id)
