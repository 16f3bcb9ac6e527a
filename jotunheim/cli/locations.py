"""`jotunheim location …`: the places that nodes stand in."""

from typing import Annotated

import typer

from jotunheim.cli.options import Json
from jotunheim.cli.output import Columns, print_record, print_rows

app = typer.Typer(no_args_is_help=True, help="Locations: the places that nodes stand in.")

COLUMNS: Columns = {
    "id": lambda location: location["id"],
    "short code": lambda location: location["short_code"],
    "name": lambda location: location["name"],
}


@app.command()
def add(
    short_code: Annotated[str, typer.Argument(help="Short and unique, e.g. fra1.")],
    name: Annotated[str | None, typer.Option(help="By default the short code.")] = None,
    as_json: Json = False,
) -> None:
    """Add a location."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        answer = api.post(
            "/locations",
            {"name": short_code if name is None else name, "short_code": short_code},
            {"name": "--name", "short_code": "SHORT_CODE"},
        )
    print_record("location", answer["location"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the locations."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        print_rows("locations", api.all("/locations", "locations"), COLUMNS, as_json=as_json)
