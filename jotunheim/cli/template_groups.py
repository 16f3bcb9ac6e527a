"""`jotunheim template-group …`: logical templates, each of which stands on several nodes."""

from typing import Annotated

import typer

from jotunheim.cli.options import Json, given, or_null, parse_size
from jotunheim.cli.output import Columns, print_record, print_rows, size
from jotunheim.cli.templates import Hidden, MinimumMemory, OsFamily, Position

app = typer.Typer(
    no_args_is_help=True, help="Template groups: logical templates that stand on several nodes."
)

COLUMNS: Columns = {
    "id": lambda group: group["id"],
    "name": lambda group: group["name"],
    "os": lambda group: group["os_family"],
    "user": lambda group: group["default_user"],
    "minimum disk": lambda group: size(group["minimum_disk_bytes"]),
    "minimum memory": lambda group: size(group["minimum_memory_bytes"]),
    "shown": lambda group: "no" if group["hidden"] else "yes",
    "templates": lambda group: group["template_ids"],
    "nodes": lambda group: group["node_ids"],
}
_OPTIONS = {
    "name": "NAME",
    "os_family": "--os-family",
    "default_user": "--default-user",
    "minimum_disk_bytes": "--minimum-disk",
    "minimum_memory_bytes": "--minimum-memory",
    "hidden": "--hidden",
    "position": "--position",
}
DefaultUser = Annotated[
    str | None,
    typer.Option(metavar="USER", help="Account that cloud-init sets up, where a template says none."),
]
MinimumDisk = Annotated[
    int | None, typer.Option(parser=parse_size, metavar="SIZE", help="Smallest disk of a server.")
]
GroupArgument = Annotated[str, typer.Argument(metavar="ID|NAME")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it, e.g. debian-12.")],
    os_family: Annotated[OsFamily, typer.Option(help="What runs in it.")] = OsFamily.LINUX,
    default_user: DefaultUser = None,
    minimum_disk: MinimumDisk = None,
    minimum_memory: MinimumMemory = None,
    hidden: Hidden = None,
    position: Position = None,
    as_json: Json = False,
) -> None:
    """Add a template group; templates are put into it with `jotunheim template add --group`."""
    from jotunheim.cli.client import Api

    body = given(
        {
            "name": name,
            "os_family": os_family.value,
            "default_user": default_user,
            "minimum_disk_bytes": minimum_disk,
            "minimum_memory_bytes": minimum_memory,
            "hidden": hidden,
            "position": position,
        }
    )
    with Api.from_environment() as api:
        answer = api.post("/template-groups", body, _OPTIONS)
    print_record("template_group", answer["template_group"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the template groups."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.all("/template-groups", "template_groups", sort="position")
    print_rows("template_groups", found, COLUMNS, as_json=as_json)


@app.command()
def change(
    group: GroupArgument,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    default_user: DefaultUser = None,
    minimum_disk: MinimumDisk = None,
    no_minimum_disk: Annotated[
        bool, typer.Option("--no-minimum-disk", help="As small as its templates allow.")
    ] = False,
    minimum_memory: MinimumMemory = None,
    no_minimum_memory: Annotated[
        bool, typer.Option("--no-minimum-memory", help="As little as its templates allow.")
    ] = False,
    hidden: Hidden = None,
    position: Position = None,
    as_json: Json = False,
) -> None:
    """Change a template group; servers that exist keep what they were made from."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import template_group_id

    body = given({"name": name, "default_user": default_user, "hidden": hidden, "position": position})
    body |= or_null(
        "minimum_disk_bytes", minimum_disk, "--minimum-disk", no_minimum_disk, "--no-minimum-disk"
    )
    body |= or_null(
        "minimum_memory_bytes",
        minimum_memory,
        "--minimum-memory",
        no_minimum_memory,
        "--no-minimum-memory",
    )
    with Api.from_environment() as api:
        path = f"/template-groups/{template_group_id(api, group)}"
        answer = api.patch(path, body, {**_OPTIONS, "name": "--name"})
    print_record("template_group", answer["template_group"], COLUMNS, as_json=as_json)


@app.command()
def delete(group: GroupArgument, as_json: Json = False) -> None:
    """Delete a template group that no template belongs to."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import template_group_id

    with Api.from_environment() as api:
        answer = api.delete(f"/template-groups/{template_group_id(api, group)}")
    print_record("template_group", answer["template_group"], COLUMNS, as_json=as_json)
