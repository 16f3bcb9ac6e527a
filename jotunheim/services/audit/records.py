"""Recording: within the transaction of what is done, or in one of its own when it was refused."""

import logging
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from jotunheim.repositories.peewee.audit import AuditEntry
from jotunheim.repositories.peewee.database import now, transact, transaction
from jotunheim.services.audit.differences import differences
from jotunheim.services.audit.floods import Floods, Surplus
from jotunheim.services.audit.masking import MAX_TEXT, kept, one_line

API, CLI, WORKER = "api", "cli", "worker"
DONE, PREVIEWED = "done", "previewed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Who:
    """Who did something, as far as it is known, and where from."""

    actor_id: int | None = None
    actor_email: str | None = None
    token_id: int | None = None
    session_id: int | None = None
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Event:
    """What is recorded.

    Attributes:
        action: e.g. `server.create`; see docs/audit.md.
        outcome: `done`, `previewed`, or the code of the error.
        status: of the HTTP answer.
        message: why it was refused.
        request: what was asked for.
        before, after: what is different since.
    """

    action: str
    who: Who = Who()
    source: str = API
    resource_type: str | None = None
    resource_id: object = None
    outcome: str = DONE
    status: int | None = None
    message: str | None = None
    times: int = 1
    request: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def record(event: Event) -> None:
    """Add an entry within the transaction that is open, as the last thing in it. Secrets are masked here."""
    who = event.who
    AuditEntry.append(
        {
            "at": now(),
            "source": event.source,
            "actor_id": who.actor_id,
            "actor_email": one_line(who.actor_email, 254),
            "token_id": who.token_id,
            "session_id": who.session_id,
            "address": one_line(who.address, 64),
            "request_id": one_line(who.request_id, 128),
            "action": event.action,
            "resource_type": event.resource_type,
            "resource_id": None if event.resource_id is None else one_line(str(event.resource_id), 255),
            "outcome": event.outcome,
            "status": event.status,
            "message": one_line(event.message, MAX_TEXT),
            "times": event.times,
            "request": kept(event.request),
            "before": kept(event.before),
            "after": kept(event.after),
        }
    )


class Refusals:
    """Records what one process refuses. Entries of whoever has shown no valid token, or only from elsewhere, are bounded."""

    def __init__(self) -> None:
        self._floods = Floods()

    def record(self, event: Event, *, is_outsider: bool) -> None:
        """Add an entry in a transaction of its own. One that cannot be added is logged: the refusal stands anyway.

        Args:
            is_outsider: entries of such are bounded.
        """
        events = [_summary(surplus) for surplus in self._floods.over()]
        if not is_outsider or self._floods.admits(event.who.address):
            events.append(event)
        self._add(events)

    def flush(self) -> None:
        """Add the entries that stand for what came too often, also of the present minute; for the end of the process."""
        self._add([_summary(surplus) for surplus in self._floods.over(also_now=True)])

    def _add(self, events: Sequence[Event]) -> None:
        def add() -> None:
            for each in events:
                record(each)

        if events:
            try:
                transact(add)
            except Exception:
                log.exception("Refusals could not be recorded, request_id=%s", events[-1].who.request_id)


def _summary(surplus: Surplus) -> Event:
    return Event(
        "refusals",
        Who(address=surplus.address),
        outcome="unauthorized",
        times=surplus.count,
        message="More refusals of whoever showed no valid token, or asked too often, than are recorded one by one in a minute.",
    )


@dataclass
class Command:
    """What a command of the service's own command line does."""

    resource_id: object = None
    request: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    def compare(self, id_: int, name: str, before: BaseModel, after: BaseModel) -> None:
        """Note of something that was there what is different since, as of a request."""
        self.resource_id = id_
        self.before, self.after = differences(
            {name: before.model_dump(mode="json")}, {name: after.model_dump(mode="json")}
        )


@contextmanager
def command(action: str, resource_type: str | None = None) -> Iterator[Command]:
    """A transaction in which a local command changes something; what it did is recorded at its end."""
    with transaction():
        done = Command()
        yield done
        record(
            Event(
                action,
                source=CLI,
                resource_type=resource_type,
                resource_id=done.resource_id,
                request={"os_user": _os_user(), **done.request},
                before=done.before,
                after=done.after,
            )
        )


def _os_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
