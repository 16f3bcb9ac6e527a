"""`jotunheim location …`: the places that nodes stand in."""

from typing import Annotated

import typer

from jotunheim.cli.options import Json, Sort, given, or_null
from jotunheim.cli.output import Columns, print_record, print_rows
from jotunheim.data.node.policy import PlacementPolicy

app = typer.Typer(no_args_is_help=True, help="Locations: the places that nodes stand in.")

COLUMNS: Columns = {
    "id": lambda location: location["id"],
    "short code": lambda location: location["short_code"],
    "name": lambda location: location["name"],
    "placement": lambda location: location["placement_policy"] or "as set",
}
_OPTIONS = {"name": "--name", "short_code": "--short-code", "placement_policy": "--placement"}
Placement = Annotated[
    PlacementPolicy | None,
    typer.Option(help="Which of several nodes a server goes to: the emptiest, or the fullest with room."),
]


@app.command()
def add(
    short_code: Annotated[str, typer.Argument(help="Short and unique, e.g. fra1.")],
    name: Annotated[str | None, typer.Option(help="By default the short code.")] = None,
    placement: Placement = None,
    as_json: Json = False,
) -> None:
    """Add a location."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        answer = api.post(
            "/locations",
            given(
                {
                    "name": short_code if name is None else name,
                    "short_code": short_code,
                    "placement_policy": placement,
                }
            ),
            {**_OPTIONS, "short_code": "SHORT_CODE"},
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
    placement: Placement = None,
    no_placement: Annotated[
        bool, typer.Option("--no-placement", help="Choose as the service's setting says.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change a location."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id

    body = given({"name": name, "short_code": short_code})
    body |= or_null("placement_policy", placement, "--placement", no_placement, "--no-placement")
    with Api.from_environment() as api:
        answer = api.patch(f"/locations/{location_id(api, location)}", body, _OPTIONS)
    print_record("location", answer["location"], COLUMNS, as_json=as_json)


@app.command()
def delete(location: Annotated[str, typer.Argument(metavar="ID|CODE")], as_json: Json = False) -> None:
    """Delete a location in which no node stands."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id

    with Api.from_environment() as api:
        answer = api.delete(f"/locations/{location_id(api, location)}")
    print_record("location", answer["location"], COLUMNS, as_json=as_json)
