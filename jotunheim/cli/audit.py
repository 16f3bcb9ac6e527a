"""`jotunheim audit …`: who did what, and whether the record of it is whole."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json, given, parse_duration
from jotunheim.cli.output import Columns, Document, local_time, print_json, print_lines, print_rows
from jotunheim.cli.store import connect, require_schema

app = typer.Typer(no_args_is_help=True, help="Audit log: who did what, and who was refused.")

_PER_QUESTION = 200


def _resource(entry: Document) -> str | None:
    found = [part for part in (entry["resource_type"], entry["resource_id"]) if part]
    return " ".join(found) or None


def _outcome(entry: Document) -> str:
    return f"{entry['outcome']} ({entry['times']} times)" if entry["times"] > 1 else str(entry["outcome"])


_COLUMNS: Columns = {
    "id": lambda entry: entry["id"],
    "at": lambda entry: local_time(entry["at"]),
    "actor": lambda entry: entry["actor_email"] or ("" if entry["source"] == "api" else entry["source"]),
    "address": lambda entry: entry["address"],
    "action": lambda entry: entry["action"],
    "resource": _resource,
    "outcome": _outcome,
    "request": lambda entry: entry["request_id"],
}


def parse_moment(text: str) -> str:
    """A time for the API: as it is written with its zone, or a duration ago such as `2d`."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            at = datetime.now(UTC) - timedelta(seconds=parse_duration(text))
        except (typer.BadParameter, OverflowError):
            raise typer.BadParameter(
                f"{text!r} is no time; write for example 2026-01-31T08:00:00Z, 2026-01-31, or 12h for so long ago."
            ) from None
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


@app.command("list")
def list_(
    actor: Annotated[str | None, typer.Option(metavar="E-MAIL", help="Only what this user did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, for example server.create.")] = None,
    resource_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only about such things, for example server.")
    ] = None,
    resource_id: Annotated[str | None, typer.Option(metavar="ID", help="Only about this one.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="done, previewed, or the code of an error, for example forbidden.")
    ] = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Only of this request.")] = None,
    since: Annotated[
        str | None, typer.Option(parser=parse_moment, metavar="TIME", help="A time, or so long ago: 12h.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(parser=parse_moment, metavar="TIME", help="Before this time.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; by default all.")] = None,
    as_json: Json = False,
) -> None:
    """List what was done and refused, the newest first."""
    from jotunheim.cli.client import Api

    query: dict[str, Any] = given(
        {
            "actor_email": actor,
            "action": action,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "outcome": outcome,
            "request_id": request,
            "since": since,
            "until": until,
        }
    )
    found: list[Document] = []
    with Api.from_environment() as api:
        cursor: int | None = None
        while True:
            wanted = _PER_QUESTION if limit is None else min(_PER_QUESTION, limit - len(found))
            answer = api.get("/audit", limit=wanted, cursor=cursor, **query)
            found += answer["audit_entries"]
            cursor = answer["next_cursor"]
            if cursor is None or (limit is not None and len(found) >= limit):
                break
    print_rows("audit_entries", found, _COLUMNS, as_json=as_json)


@app.command()
def verify(
    expect: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A hash that this command printed earlier: an entry must have it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that no entry was changed, removed or put elsewhere since it was written."""
    connect()
    require_schema()
    from jotunheim.services.audit import reading

    found = reading.verify(expect.strip().lower() if expect else None)
    document = {
        "ok": found.wrong is None,
        "entries": found.entries,
        "first_id": found.first_id,
        "last_id": found.last.id,
        "last_hash": found.last.hash,
        "wrong_id": found.wrong_id,
    }
    if found.wrong:
        raise CommandError(
            f"The audit log is not whole. {found.wrong} {found.entries} entries before it are as they were written."
            if found.wrong_id
            else f"The audit log is not whole. {found.wrong}",
            code="audit_problems",
            hint="Compare the database with a backup.",
            document=document,
        )
    if as_json:
        print_json(document)
    else:
        print_lines(
            [
                f"The audit log is whole: {found.entries} entries, the last one is {found.last.id}.",
                f"Its hash, to be kept elsewhere for --expect: {found.last.hash}",
            ]
        )
