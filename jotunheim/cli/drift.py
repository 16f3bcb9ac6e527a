"""`jotunheim drift …`: what differs between servers and their VMs."""

from typing import TYPE_CHECKING, Annotated

import typer

from jotunheim.cli.asking import Manner, ask, takes_manner
from jotunheim.cli.differences import difference_lines
from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.options import Json, Timeout, given
from jotunheim.cli.output import Columns, Document, local_time, print_json, print_lines, print_rows
from jotunheim.data.server.change import Restart
from jotunheim.data.server.drift import Acceptable, DriftStatus

if TYPE_CHECKING:
    from jotunheim.cli.client import Api

app = typer.Typer(
    help="What differs between servers and their VMs. Without a command: look now, and wait.",
    invoke_without_command=True,
)

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name of the server.")]
COLUMNS: Columns = {
    "server": lambda drift: drift["server_name"],
    "node": lambda drift: drift["node"]["name"],
    "status": lambda drift: drift["status"],
    "since": lambda drift: local_time(drift["found_at"]),
    "looked at": lambda drift: local_time(drift["checked_at"]),
    "settings": lambda drift: [difference["setting"] for difference in drift["differences"]],
    "error": lambda drift: drift["error"] and drift["error"]["message"],
}


@app.callback()
def look(
    context: typer.Context,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="SERVER", help="Only this one, by id or name; repeatable."),
    ] = None,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Look for drift now, wait, and show what differs. Exit status 1: something does, or a VM could not be looked at."""
    if context.invoked_subcommand:
        return
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        ids = [server_id(api, reference) for reference in server or []]
        if ids:
            paths = {f"/servers/{id_}/drift/check": name for id_, name in zip(ids, server or [], strict=True)}
        else:
            paths = {f"/nodes/{node['id']}/drift": node["name"] for node in api.all("/nodes", "nodes")}
        failure = _looked(api, paths, timeout, as_json=as_json)
        if ids:
            found = [api.get(f"/servers/{id_}/drift")["drift"] for id_ in ids]
        else:
            found = api.all("/drift", "drift")
    _tell(found, failure, as_json=as_json)


@app.command("list")
def list_(
    status: Annotated[DriftStatus | None, typer.Option(help="Only servers of this status.")] = None,
    node: Annotated[str | None, typer.Option(metavar="NODE", help="Only servers on this node.")] = None,
    as_json: Json = False,
) -> None:
    """List what the last looks have found."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        wanted = given({"status": status, "node_id": None if node is None else node_id(api, node)})
        found = api.all("/drift", "drift", **wanted)
    print_rows("drift", found, COLUMNS, as_json=as_json)


@app.command()
def show(server: Server, as_json: Json = False) -> None:
    """Show what the last look at a server's VM has found."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.get(f"/servers/{server_id(api, server)}/drift")["drift"]
    if as_json:
        print_json({"drift": found})
    else:
        print_lines(_lines(found))


@app.command()
def accept(
    server: Server,
    field: Annotated[
        list[Acceptable] | None,
        typer.Option("--field", help="Only this one; repeatable. By default all that differ."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let the record of a server take over what was found. Nothing is changed on the node."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        path = f"/servers/{server_id(api, server)}/drift"
        version = api.get(path)["drift"]["version"]
        body = {"version": version, **given({"fields": field or None})}
        answer = api.post(f"{path}/accept", body, {"fields": "--field"})
    if as_json:
        print_json(answer)
    else:
        print_lines(["Accepted.", *_lines(answer["drift"])])


@app.command()
@takes_manner
def reconcile(
    server: Server,
    restart: Annotated[
        Restart | None, typer.Option(help="Whether a change that needs it may restart the server.")
    ] = None,
    *,
    manner: Manner,
) -> None:
    """Bring a server's VM to all that is recorded."""
    body = given({"restart": restart})
    ask(server, "drift/reconcile", "Reconciling {name}", manner, body, {"restart": "--restart"})


def _looked(
    api: "Api", paths: dict[str, str], timeout: float | None, *, as_json: bool
) -> CommandError | None:
    """Have all looks made; returns why one of them failed."""
    from jotunheim.cli.board import JobBoard, Silence
    from jotunheim.cli.checklist import Checklist
    from jotunheim.cli.waiting import failure_of, wait_for

    titles = {api.post(path)["job"]["id"]: f"Looking at {name}" for path, name in paths.items()}
    if as_json:
        ended = wait_for(api, list(titles), timeout, Silence())
    else:
        with Checklist() as checklist:
            ended = wait_for(api, list(titles), timeout, JobBoard(api, checklist, titles))
    failures = [failure for failure in map(failure_of, ended.values()) if failure]
    for failure in failures:
        if failure.code == "node_unavailable":
            failure.exit_code = ExitCode.UNREACHABLE
    return failures[0] if failures else None


def _tell(found: list[Document], failure: CommandError | None, *, as_json: bool) -> None:
    """Print what was found.

    Raises:
        CommandError: a look failed, something differs, or something is not known.
    """
    off = [drift for drift in found if drift["status"] != DriftStatus.IN_SYNC]
    if not as_json:
        for drift in off:
            print_lines(["", *_lines(drift)])
        print_lines(["", f"{len(found) - len(off)} of {len(found)} servers are as recorded."])
    if failure is None and off:
        unknown = sum(drift["status"] == DriftStatus.UNKNOWN for drift in off)
        said = f"{len(off) - unknown} servers have drifted, {unknown} are not known."
        hint = "jotunheim drift reconcile SERVER --check, or jotunheim drift accept SERVER."
        failure = CommandError(said, code="drifted", hint=hint)
    if failure is not None:
        failure.document = {"drift": found}
        raise failure
    if as_json:
        print_json({"drift": found})


def _lines(drift: Document) -> list[str]:
    """A server's drift for a person: what was found → what is recorded."""
    lines = [f"{drift['server_name']} on {drift['node']['name']}: {drift['status']}"]
    if drift["error"]:
        lines.append(f"  {drift['error']['message']}")
    lines += [f"  {line}" for diff in drift["diff"] for line in difference_lines(diff)]
    if drift["acceptable"]:
        lines.append(f"  can be accepted: {', '.join(drift['acceptable'])}")
    return lines
