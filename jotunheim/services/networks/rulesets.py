"""Firewall rulesets: adding, showing, changing and deleting them, and bringing them to the servers that apply them."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.paging import Page, Paged
from jotunheim.data.server.firewall import (
    ApplyRequest,
    NotApplied,
    RulesetChange,
    RulesetServer,
    RulesetSpec,
    RulesetView,
)
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.exceptions.service import ConflictError, LockedError, QueueFullError
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.firewalls import Ruleset, ServerRuleset, Use
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.repositories.peewee.servers import Server
from jotunheim.services import resources
from jotunheim.services.job_control import assert_room
from jotunheim.services.servers import firewall, requests
from jotunheim.settings import Settings

SHOWN_SERVERS = 100
MAX_SERVERS = 100
"""How many servers one request brings a ruleset to."""
FILTERS = {"name": Ruleset.name}
SORTABLE = {
    "id": Ruleset.id,
    "name": Ruleset.name,
    "created_at": Ruleset.created_at,
    "updated_at": Ruleset.updated_at,
}
SERVER_FILTERS = {
    "name": Server.name,
    "outdated": lambda outdated: ServerRuleset.is_outdated() if outdated else ~ServerRuleset.is_outdated(),
    "after": lambda id_: Server.id > id_,
}
SERVERS_SORTABLE = {"id": Server.id, "name": Server.name}
_NAME_TAKEN = "There is a firewall ruleset {} already."


@dataclass
class Applied:
    """What became of bringing a ruleset to servers: jobs, servers that were left out, how many are still to be asked for."""

    jobs: list[Job] = field(default_factory=list)
    left_out: list[NotApplied] = field(default_factory=list)
    remaining: int = 0
    next_after: uuid.UUID | None = None


def create_ruleset(spec: RulesetSpec) -> RulesetView:
    """Add a ruleset. Raises UniquenessError when the name is taken."""
    with unique(_NAME_TAKEN.format(spec.name)):
        return view(Ruleset.create(**spec.model_dump(mode="json")))


def list_rulesets(page: Page, wanted: Mapping[str, Any]) -> Paged[RulesetView]:
    """A page of the rulesets that these filters let through."""
    found, total = paginate(narrowed(Ruleset.select(), FILTERS, wanted), page, SORTABLE)
    return Paged(_views(found), page, total)


def find(id_: int, if_match: str | None = None) -> Ruleset:
    """One ruleset; raises as `resources.find`."""
    return resources.find(Ruleset, "firewall ruleset", id_, if_match)


def get(id_: int) -> Ruleset:
    """One ruleset, which others may change meanwhile: for requests that hold servers. Raises NotFoundError."""
    ruleset: Ruleset | None = Ruleset.get_or_none(Ruleset.id == id_)
    if ruleset is None:
        raise NotFoundError("firewall ruleset", id_)
    return ruleset


def change_ruleset(ruleset: Ruleset, change: RulesetChange) -> None:
    """Change a ruleset; servers that apply it do not have its new rules yet. Raises as `create_ruleset`."""
    columns = change.model_dump(mode="json", include=change.model_fields_set)  # rules with what they left out
    rules = columns.pop("rules", None)
    with unique(_NAME_TAKEN.format(change.name)):
        if columns:
            ruleset.change(**columns)
        if rules is not None:
            ruleset.replace_rules(rules)


def delete_ruleset(ruleset: Ruleset) -> None:
    """Delete a ruleset.

    Raises:
        ConflictError, InUseError: servers apply it.
    """
    users = ServerRuleset.names_of_users(ruleset, resources.SHOWN)
    resources.assert_unused("firewall ruleset", {"servers": users})
    ruleset.remove()


def list_servers(ruleset: Ruleset, page: Page, wanted: Mapping[str, Any]) -> Paged[RulesetServer]:
    """A page of the servers that apply a ruleset, and that these filters let through."""
    query = narrowed(ServerRuleset.with_servers(ruleset), SERVER_FILTERS, wanted)
    found, total = paginate(query, page, SERVERS_SORTABLE)
    shown = [
        RulesetServer(
            id=use.server.id,
            name=use.server.name,
            owner_id=use.server.owner_id,
            outdated=(use.applied_version or 0) < use.ruleset.rules_version,
        )
        for use in found
    ]
    return Paged(shown, page, total)


def outdated_servers(ruleset: Ruleset) -> list[RulesetServer]:
    """Some of the servers that do not have a ruleset's present rules."""
    return list_servers(ruleset, Page(per_page=SHOWN_SERVERS, sort="name"), {"outdated": True}).items


def apply_ruleset(
    ruleset: Ruleset, wanted: ApplyRequest, actor: Actor, settings: Settings, *, check: bool
) -> Applied:
    """Queue jobs that bring a ruleset's present rules to servers that apply it; those that cannot be changed now are left out."""
    narrowed_to: dict[str, Any] = {"outdated": True} if wanted.only_outdated else {}
    if wanted.after is not None:
        narrowed_to["after"] = wanted.after
    listed = list_servers(ruleset, Page(per_page=MAX_SERVERS, sort="id"), narrowed_to)
    applied = Applied(remaining=listed.total - len(listed.items))
    if applied.remaining:
        applied.next_after = listed.items[-1].id
    for entry in listed.items:
        try:
            assert_room(actor, settings)
            applied.jobs.append(firewall.apply_again(requests.find(entry.id), actor, check=check))
        except (ConflictError, LockedError, QueueFullError) as error:
            applied.left_out.append(
                NotApplied(server_id=entry.id, name=entry.name, code=error.code, message=error.message)
            )
    return applied


def view(ruleset: Ruleset) -> RulesetView:
    """A ruleset as the API shows it."""
    return _views([ruleset])[0]


def _views(rulesets: Iterable[Ruleset]) -> list[RulesetView]:
    rulesets = list(rulesets)
    uses = ServerRuleset.uses(rulesets)
    return [
        RulesetView.model_validate(
            {
                "id": ruleset.id,
                "name": ruleset.name,
                "description": ruleset.description,
                "rules": ruleset.rules,
                "servers": uses.get(ruleset.id, Use(0, 0)).servers,
                "outdated_servers": uses.get(ruleset.id, Use(0, 0)).outdated,
                "created_at": ruleset.created_at,
                "updated_at": ruleset.updated_at,
            }
        )
        for ruleset in rulesets
    ]
