"""`jotunheim snapshot …`: states of a server to return to."""

from typing import Annotated

import typer

from jotunheim.cli.asking import Manner, ask, takes_manner
from jotunheim.cli.options import Json, given
from jotunheim.cli.output import Columns, local_time, print_rows

app = typer.Typer(no_args_is_help=True, help="Snapshots: states of a server to return to.")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name of the server.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The snapshot.")]
COLUMNS: Columns = {
    "name": lambda snapshot: snapshot["name"],
    "created": lambda snapshot: local_time(snapshot["created_at"]),
    "memory": lambda snapshot: snapshot["with_memory"],
    "parent": lambda snapshot: snapshot["parent"],
    "description": lambda snapshot: snapshot["description"],
}


@app.command("list")
def list_(server: Server, as_json: Json = False) -> None:
    """List a server's snapshots, the oldest first, as its node has them."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.all(f"/servers/{server_id(api, server)}/snapshots", "snapshots")
    print_rows("snapshots", found, COLUMNS, as_json=as_json)


@app.command()
@takes_manner
def create(
    server: Server,
    name: Name,
    description: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    with_memory: Annotated[
        bool, typer.Option("--with-memory", help="Save the memory of a running server too.")
    ] = False,
    *,
    manner: Manner,
) -> None:
    """Make a snapshot of a server."""
    body = given({"name": name, "description": description, "with_memory": with_memory})
    options = {"name": "NAME", "description": "--description", "with_memory": "--with-memory"}
    ask(server, "snapshots", f"Snapshot {name} of {{name}}", manner, body, options)


@app.command()
@takes_manner
def rollback(
    server: Server,
    name: Name,
    *,
    manner: Manner,
) -> None:
    """Return a server to a snapshot; what was written since is lost."""
    from jotunheim.cli.client import path_part

    ask(server, f"snapshots/{path_part(name)}/rollback", f"Returning {{name}} to {name}", manner)


@app.command()
@takes_manner
def delete(
    server: Server,
    name: Name,
    *,
    manner: Manner,
) -> None:
    """Delete a snapshot; the server stays as it is."""
    from jotunheim.cli.client import path_part

    title = f"Deleting snapshot {name} of {{name}}"
    ask(server, f"snapshots/{path_part(name)}", title, manner, method="delete")
