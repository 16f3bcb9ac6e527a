"""`jotunheim location …`: the places that nodes stand in."""

from typing import Annotated

import typer

from jotunheim.cli.options import Json, Sort, given
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
def list_(sort: Sort = None, as_json: Json = False) -> None:
    """List the locations."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        print_rows("locations", api.all("/locations", "locations", sort=sort), COLUMNS, as_json=as_json)


@app.command()
def change(
    location: Annotated[str, typer.Argument(metavar="ID|CODE")],
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    short_code: Annotated[str | None, typer.Option(help="Short and unique.")] = None,
    as_json: Json = False,
) -> None:
    """Change a location."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id

    with Api.from_environment() as api:
        answer = api.patch(
            f"/locations/{location_id(api, location)}",
            given({"name": name, "short_code": short_code}),
            {"name": "--name", "short_code": "--short-code"},
        )
    print_record("location", answer["location"], COLUMNS, as_json=as_json)


@app.command()
def delete(location: Annotated[str, typer.Argument(metavar="ID|CODE")], as_json: Json = False) -> None:
    """Delete a location in which no node stands."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id

    with Api.from_environment() as api:
        answer = api.delete(f"/locations/{location_id(api, location)}")
    print_record("location", answer["location"], COLUMNS, as_json=as_json)
