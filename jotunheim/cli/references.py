"""Finds what a command's argument names: by id, or by one of its names."""

import uuid
from contextlib import suppress

from jotunheim.cli.client import Api
from jotunheim.cli.errors import CommandError
from jotunheim.cli.output import Document

LATEST = "latest"
"""Instead of a backup's id: the newest one."""


def location_id(api: Api, reference: str) -> int:
    """Id of a location, by id, short code or name."""
    return _integer_id(api, "location", reference, "short_code", "name")


def node_id(api: Api, reference: str) -> int:
    """Id of a node, by id or name."""
    return _integer_id(api, "node", reference, "name")


def pool_id(api: Api, reference: str) -> int:
    """Id of an address pool, by id or name."""
    if reference.isdecimal():
        return int(reference)
    chosen: int = _only(
        "pool", reference, api.all("/address-pools", "address_pools", name=reference), ("name",)
    )["id"]
    return chosen


def template_group_id(api: Api, reference: str) -> int:
    """Id of a template group, by id or name."""
    if reference.isdecimal():
        return int(reference)
    groups = api.all("/template-groups", "template_groups")
    chosen: int = _only("template-group", reference, groups, ("name",))["id"]
    return chosen


def ruleset_id(api: Api, reference: str) -> int:
    """Id of a firewall ruleset, by id or name."""
    if reference.isdecimal():
        return int(reference)
    found = api.all("/firewall-rulesets", "firewall_rulesets", name=reference)
    chosen: int = _only("ruleset", reference, found, ("name",))["id"]
    return chosen


def template_id(api: Api, reference: str, on_node: int | None = None) -> int:
    """Id of a template, by id or name; several nodes may have one of the same name, of one group any will do."""
    if reference.isdecimal():
        return int(reference)
    named = api.all("/templates", "templates", name=reference)
    found = [template for template in named if on_node in (None, template["node_id"])]
    groups = {template["group_id"] for template in found}
    if len(groups) == 1 and None not in groups:
        found = found[:1]
    chosen: int = _only("template", reference, found, ("name",))["id"]
    return chosen


def server_id(api: Api, reference: str) -> str:
    """Id of a server, by id or name."""
    with suppress(ValueError):
        return str(uuid.UUID(reference))
    chosen: str = _only("server", reference, api.all("/servers", "servers", name=reference), ("name",))["id"]
    return chosen


def backup_id(api: Api, of_server: str, reference: str) -> str:
    """Id of a backup of a server, by id, by how that begins, or `latest`: the newest that is ready."""
    with suppress(ValueError):
        return str(uuid.UUID(reference))
    found = api.all(f"/servers/{of_server}/backups", "backups")  # the newest first
    if reference == LATEST:
        matching = [backup for backup in found if backup["status"] == "ready"][:1]
    else:
        matching = [backup for backup in found if backup["id"].startswith(reference)]
    if len(matching) == 1:
        chosen: str = matching[0]["id"]
        return chosen
    if not matching:
        raise CommandError(
            f"There is no backup {reference} of this server.",
            code="not_found",
            hint=f"jotunheim backup list {of_server} shows all.",
        )
    ids = ", ".join(backup["id"] for backup in matching)
    raise CommandError(
        f"Several backups begin with {reference}: {ids}.", code="conflict", hint="Give more of the id."
    )


def server(api: Api, reference: str) -> Document:
    """A server, by id or name."""
    found: Document = api.get(f"/servers/{server_id(api, reference)}")["server"]
    return found


def _integer_id(api: Api, kind: str, reference: str, *names: str) -> int:
    if reference.isdecimal():
        return int(reference)
    chosen: int = _only(kind, reference, api.all(f"/{kind}s", f"{kind}s"), names)["id"]
    return chosen


def _only(kind: str, reference: str, found: list[Document], names: tuple[str, ...]) -> Document:
    matching = [entry for entry in found if reference in (entry[name] for name in names)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise CommandError(
            f"There is no {kind} {reference}.", code="not_found", hint=f"jotunheim {kind} list shows all."
        )
    ids = ", ".join(str(entry["id"]) for entry in matching)
    raise CommandError(
        f"Several {kind}s are called {reference}: {ids}.", code="conflict", hint=f"Give the {kind}'s id."
    )
