"""Reading the audit log, proving that it is whole, and deleting what is too old."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jotunheim.data.audit import AuditEntryView
from jotunheim.repositories.peewee.audit import AuditAnchor, AuditEntry, Link
from jotunheim.repositories.peewee.database import now, serialize, transact, usable
from jotunheim.services.audit.records import WORKER, Event, record

PRUNE = "audit.prune"
_PRUNED_AT_ONCE = 5000


@dataclass(frozen=True)
class Verified:
    """What a look at the whole chain has shown.

    Attributes:
        entries: how many there are, up to the one that is wrong.
        first_id: None: there are none.
        last: what the next entry will follow.
        wrong: what is wrong, in one sentence; None: nothing.
        wrong_id: id of the entry that it is about.
    """

    entries: int
    first_id: int | None
    last: Link
    wrong: str | None = None
    wrong_id: int | None = None


def list_entries(
    filters: Mapping[str, Any], cursor: int | None, limit: int
) -> tuple[list[AuditEntryView], int | None]:
    """Entries, the newest first, and the cursor behind them; None: there are no more."""
    found = AuditEntry.newest(filters, cursor, limit + 1)
    shown = [_view(entry) for entry in found[:limit]]
    return shown, shown[-1].id if len(found) > limit else None


@usable()
def verify(expected_hash: str | None = None) -> Verified:
    """Look at all entries, in memory for a few of them.

    Args:
        expected_hash: one that was told earlier; an entry must still have it.
    """
    while True:
        anchor = AuditAnchor.link()
        found = _verify(anchor, expected_hash)
        if not found.wrong or AuditAnchor.link() == anchor:
            return found  # else the oldest entries were deleted meanwhile


def _verify(anchor: Link, expected_hash: str | None) -> Verified:
    last = anchor
    entries, first_id = 0, None
    is_found = expected_hash in (None, anchor.hash)
    pruned: Link | None = None
    for id_, entry in AuditEntry.all():
        wrong = _problem(id_, entry, last)
        if wrong or entry is None:
            return Verified(entries, first_id, last, wrong, id_)
        entries, first_id = entries + 1, first_id or entry.id
        last = Link(entry.id, entry.hash)
        is_found = is_found or entry.hash == expected_hash
        if entry.action == PRUNE and entry.source == WORKER:
            after = json.loads(entry.after or "{}")
            pruned = Link(after.get("last_id"), after.get("hash"))
    if anchor.id and pruned != anchor:
        told = "The entries up to {} are gone, and no entry tells that they were deleted for their age."
        return Verified(entries, first_id, last, told.format(anchor.id), anchor.id)
    if not is_found:
        return Verified(entries, first_id, last, "No entry has the hash that is expected.")
    return Verified(entries, first_id, last)


def _problem(id_: int, entry: AuditEntry | None, last: Link) -> str | None:
    if id_ <= last.id:
        return f"Entry {id_} was put before the others."
    if id_ != last.id + 1:
        return f"Entry {last.id + 1} is missing: after {last.id} comes {id_}."
    if entry is None:
        return f"Entry {id_} was changed: it holds what cannot be read."
    if entry.previous_hash != last.hash:
        return f"Entry {entry.id} does not follow entry {last.id}: one of them is another one than it was."
    if entry.hash != entry.digest():
        return f"Entry {entry.id} was changed."
    return None


def prune(days: int) -> int:
    """Delete the entries of days that are over for longer than so many days; 0: none. Returns how many.

    What was deleted is an entry itself. Days are those of UTC, so that there is one such entry a day.
    """
    if not days:
        return 0
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    return sum(iter(lambda: transact(lambda: _prune(midnight - timedelta(days=days))), 0))


def _prune(before: datetime) -> int:
    if AuditEntry.last_before(before, 1) is None:
        return 0  # without the lock: this is asked often
    serialize("audit")
    found = AuditEntry.last_before(before, _PRUNED_AT_ONCE)
    if found is None:
        return 0
    last, count = found
    AuditEntry.forget_until(last)
    after = {"last_id": last.id, "hash": last.hash, "entries": count}
    record(Event(PRUNE, source=WORKER, resource_type="audit", after=after))
    return count


def _view(entry: AuditEntry) -> AuditEntryView:
    columns = {name: getattr(entry, name) for name in AuditEntryView.model_fields}
    for name in ("request", "before", "after"):
        columns[name] = json.loads(columns[name]) if columns[name] else None
    return AuditEntryView(**columns)
