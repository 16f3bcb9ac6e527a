"""`jotunheim iso …`: images in the CD-ROM drives of servers."""

from typing import Annotated

import typer

from jotunheim.cli.asking import Manner, ask, takes_manner
from jotunheim.cli.options import Json
from jotunheim.cli.output import Columns, Document, local_time, print_lines, print_rows, size
from jotunheim.cli.server_changes import EFFECTS, Restart

app = typer.Typer(no_args_is_help=True, help="ISO images in the CD-ROM drives of servers.")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name of the server.")]
COLUMNS: Columns = {
    "name": lambda image: image["name"],
    "size": lambda image: size(image["size_bytes"]),
    "created": lambda image: local_time(image["created_at"]),
    "volume": lambda image: image["volume"],
}


@app.command("list")
def list_(
    server: Server,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only images with this in their names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the images that a server can be given: those on its node's storage for images."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.all(f"/servers/{server_id(api, server)}/isos", "isos", name=name)
    print_rows("isos", found, COLUMNS, as_json=as_json)


@app.command()
@takes_manner
def mount(
    server: Server,
    image: Annotated[str, typer.Argument(metavar="NAME|VOLUME", help="For example debian-12.iso.")],
    restart: Annotated[
        Restart | None, typer.Option(help="Whether it may be restarted for a new drive; by default never.")
    ] = None,
    *,
    manner: Manner,
) -> None:
    """Put an image into a server's drive, in place of another one."""
    body = {"volume" if ":" in image else "name": image}
    if restart is not None:
        body["restart"] = restart.value
    options = {"name": "NAME", "volume": "VOLUME", "restart": "--restart"}
    ask(server, "iso", f"Mounting {image} on {{name}}", manner, body, options, show=_show)


@app.command()
@takes_manner
def unmount(
    server: Server,
    *,
    manner: Manner,
) -> None:
    """Take the image out of a server's drive. What is empty stays so."""
    ask(server, "iso", "Unmounting the image of {name}", manner, method="delete", show=_show)


def _show(answer: Document) -> None:
    """Say when it takes effect."""
    effect = (answer["job"]["result"] or {}).get("fields", {}).get("iso", "applied")
    print_lines([f"The drive: {EFFECTS.get(effect, effect)}"])
