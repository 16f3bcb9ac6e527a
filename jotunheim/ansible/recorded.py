"""What is recorded of servers, as variables: for looks for drift, and for inventories of runs by hand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from jotunheim.ansible import variables
from jotunheim.ansible.asserted import asserted
from jotunheim.data.server.filters import ServerFilters, by_label
from jotunheim.data.server.status import ServerStatus
from jotunheim.exceptions.model import from_pydantic
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.firewalls import ServerRuleset
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.server_views import select, views
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings

SERVERS_AT_ONCE = 1000
"""SQLite takes 32,766 parameters in a statement, and these are ids in a list."""
UNBUILT = (ServerStatus.BUILDING, ServerStatus.BUILD_FAILED)


def variables_of(
    server: Server,
    node: Node,
    addresses: list[Address],
    ruleset_rules: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    fields: Set[str] | None,
) -> dict[str, Any]:
    """The variables that say what is recorded: those with which a job would assert it, and the way to the VM.

    Args:
        ruleset_rules: as of `variables.pve_firewall`.
        fields: as of `variables.pve_config`.
    """
    device = variables.pve_device(server) if server.imported else {}
    return {
        **variables.connection(server, node, settings),
        **device,
        **variables.pve_config(server, node, addresses, fields=fields),
        **variables.pve_firewall(server, addresses, ruleset_rules),
        **variables.pve_drift(server),
    }


def by_hand(
    server: Server, addresses: list[Address], ruleset_rules: Iterable[Mapping[str, Any]], settings: Settings
) -> dict[str, Any]:
    """The variables with which the playbooks do by hand what a job would do; a password is never among them."""
    is_unbuilt = server.status in UNBUILT
    fields = None if is_unbuilt else asserted(server)
    clone = is_unbuilt and server.template is not None and server.restored_from is None
    return {
        **variables_of(server, server.node, addresses, ruleset_rules, settings, fields=fields),
        **variables.delegated_prefixes(addresses),
        **variables.pve_info(settings),
        **(variables.pve_clone(server, server.node) if clone else {}),
    }


@dataclass(frozen=True)
class Recorded:
    """A server as `GET /admin/servers/{id}` shows it, and its variables `by_hand`."""

    shown: dict[str, Any]
    variables: dict[str, Any]


def read(filters: Mapping[str, str], settings: Settings) -> list[Recorded]:
    """Servers at one moment, in the order in which they were made.

    Args:
        filters: texts by the names of `ServerFilters`.

    Raises:
        DataValidationError: a filter is unknown or has a value that it cannot have.
    """
    try:
        given = ServerFilters.model_validate(dict(filters)).model_dump(exclude_none=True)
    except ValidationError as error:
        raise from_pydantic(error) from None
    wanted = by_label(given)
    with database.snapshot():
        rows = list(select(wanted).order_by(Server.created_at, Server.id))
        Server.place(rows)
        parts = (rows[first : first + SERVERS_AT_ONCE] for first in range(0, len(rows), SERVERS_AT_ONCE))
        return [recorded for part in parts for recorded in _together(part, settings)]


def _together(rows: Sequence[Server], settings: Settings) -> Iterator[Recorded]:
    addresses = Address.of(rows)
    rules = ServerRuleset.rules_of(rows)
    for server, view in zip(rows, views(rows, addresses), strict=True):
        given = by_hand(server, addresses.get(server.id, []), rules.get(server.id, []), settings)
        yield Recorded(view.model_dump(mode="json"), given)
