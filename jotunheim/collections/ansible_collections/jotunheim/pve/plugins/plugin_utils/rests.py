"""What a previewed plan rests on: noted in check mode, and compared until the job that applies it changes something.

The expected state travels in the store, beside the task journal: a run by hand has no job, and is not held to a state
that was somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jotunheim.exceptions.repository import PlanOutdatedError
from jotunheim.repositories.proxmox import ProxmoxClient, state

if TYPE_CHECKING:
    from jotunheim.repositories.peewee.journal import Journal


def note(client: ProxmoxClient, node: str, journal: Journal) -> None:
    """Keep for later what a preview is about to look at. Read first: what moves meanwhile is noticed then."""
    plan = journal.plan_made()
    if plan is not None:
        journal.see(plan, state.read(client, node, **plan.watched))


def hold(client: ProxmoxClient, node: str, journal: Journal) -> None:
    """Refuse to apply a plan to another state than the previewed one: now, and again right before the first change.

    Once the job has begun to change something, what has moved may be its own work: nothing is compared any more, in
    later attempts neither.

    Raises:
        PlanOutdatedError: something has moved.
    """
    plan = journal.plan_applied()
    if plan is None or plan.begun:
        return

    def compare() -> None:
        _compare(plan.seen, state.read(client, node, **plan.watched), hint=plan.outdated_hint)

    def before_change() -> None:
        compare()
        journal.begin(plan)
        client.before_change = None

    compare()
    client.before_change = before_change


def _compare(seen: Mapping[str, Any], found: Mapping[str, Any], *, hint: str) -> None:
    moved = state.moved(seen, found)
    if moved:
        raise PlanOutdatedError(
            f"Since the preview this has moved: {', '.join(moved)}. Nothing was changed.",
            hint=hint,
        )
