"""`jotunheim template …`: the VM templates that servers are cloned from."""

from enum import StrEnum
from typing import Annotated

import typer

from jotunheim.cli.options import Json, Sort, given, or_null, parse_size
from jotunheim.cli.output import Columns, local_time, print_json, print_record, print_rows, size

app = typer.Typer(no_args_is_help=True, help="Templates: the VMs that servers are cloned from.")


class OsFamily(StrEnum):
    """What runs in a template."""

    LINUX = "linux"
    WINDOWS = "windows"


COLUMNS: Columns = {
    "id": lambda template: template["id"],
    "name": lambda template: template["name"],
    "node": lambda template: template["node_id"],
    "vmid": lambda template: template["vmid"],
    "os": lambda template: template["os_family"],
    "user": lambda template: template["default_user"],
    "minimum disk": lambda template: size(template["minimum_disk_bytes"]),
    "minimum memory": lambda template: size(template["minimum_memory_bytes"]),
    "group": lambda template: template["group_id"],
    "shown": lambda template: "no" if template["hidden"] else "yes",
    "missing": lambda template: local_time(template["missing_since"]),
}
_OPTIONS = {
    "name": "NAME",
    "node_id": "--node",
    "vmid": "--vmid",
    "os_family": "--os-family",
    "default_user": "--default-user",
    "minimum_disk_bytes": "--minimum-disk",
    "minimum_memory_bytes": "--minimum-memory",
    "group_id": "--group",
    "hidden": "--hidden",
    "position": "--position",
}
Group = Annotated[str | None, typer.Option(metavar="ID|NAME", help="The template group that it belongs to.")]
MinimumMemory = Annotated[
    int | None, typer.Option(parser=parse_size, metavar="SIZE", help="Least memory of a server.")
]
Hidden = Annotated[bool | None, typer.Option("--hidden/--shown", help="Whether owners are not offered it.")]
Position = Annotated[int | None, typer.Option(metavar="N", help="Where it stands in lists for people.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it, e.g. debian-12.")],
    node: Annotated[str, typer.Option(metavar="ID|NAME", help="The node that has it.")],
    vmid: Annotated[int, typer.Option(help="The template's VMID there.")],
    os_family: Annotated[OsFamily, typer.Option(help="What runs in it.")] = OsFamily.LINUX,
    default_user: Annotated[
        str | None, typer.Option(metavar="USER", help="Account that cloud-init sets up.")
    ] = None,
    minimum_disk: Annotated[
        int | None,
        typer.Option(
            parser=parse_size, metavar="SIZE", help="Smallest disk of a server; by default the template's."
        ),
    ] = None,
    minimum_memory: MinimumMemory = None,
    group: Group = None,
    hidden: Hidden = None,
    position: Position = None,
    as_json: Json = False,
) -> None:
    """Add a template."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id, template_group_id

    with Api.from_environment() as api:
        body = {
            "name": name,
            "node_id": node_id(api, node),
            "vmid": vmid,
            "group_id": template_group_id(api, group) if group else None,
            "os_family": os_family.value,
            "default_user": default_user,
            "minimum_disk_bytes": minimum_disk,
            "minimum_memory_bytes": minimum_memory,
            "hidden": hidden,
            "position": position,
        }
        answer = api.post("/templates", given(body), _OPTIONS)
    print_record("template", answer["template"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="Only those of this node.")] = None,
    os_family: Annotated[OsFamily | None, typer.Option(help="Only those in which this runs.")] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List the templates."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        on_node = node_id(api, node) if node else None
        family = os_family.value if os_family else None
        templates = api.all("/templates", "templates", node_id=on_node, os_family=family, sort=sort)
    print_rows("templates", templates, COLUMNS, as_json=as_json)


@app.command()
def change(
    template: Annotated[str, typer.Argument(metavar="ID|NAME")],
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    os_family: Annotated[OsFamily | None, typer.Option(help="What runs in it.")] = None,
    default_user: Annotated[
        str | None, typer.Option(metavar="USER", help="Account that cloud-init sets up.")
    ] = None,
    minimum_disk: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="Smallest disk of a server.")
    ] = None,
    minimum_memory: MinimumMemory = None,
    group: Group = None,
    no_group: Annotated[bool, typer.Option("--no-group", help="Take it out of its group.")] = False,
    hidden: Hidden = None,
    position: Position = None,
    as_json: Json = False,
) -> None:
    """Change a template; servers that exist keep what they were made from."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import template_group_id, template_id

    body = given(
        {
            "name": name,
            "os_family": os_family.value if os_family else None,
            "default_user": default_user,
            "minimum_disk_bytes": minimum_disk,
            "minimum_memory_bytes": minimum_memory,
            "hidden": hidden,
            "position": position,
        }
    )
    with Api.from_environment() as api:
        group_id = template_group_id(api, group) if group else None
        body |= or_null("group_id", group_id, "--group", no_group, "--no-group")
        answer = api.patch(f"/templates/{template_id(api, template)}", body, {**_OPTIONS, "name": "--name"})
    print_record("template", answer["template"], COLUMNS, as_json=as_json)


@app.command()
def delete(template: Annotated[str, typer.Argument(metavar="ID|NAME")], as_json: Json = False) -> None:
    """Forget a template that no server was made from; the VM is not touched."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import template_id

    with Api.from_environment() as api:
        answer = api.delete(f"/templates/{template_id(api, template)}")
    print_record("template", answer["template"], COLUMNS, as_json=as_json)


@app.command()
def sync(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Id or name.")], as_json: Json = False
) -> None:
    """Find the templates that a node has; those that are not known are added, hidden."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        answer = api.post(f"/nodes/{node_id(api, node)}/templates/sync")
    if as_json:
        print_json(answer)
    else:
        print_rows("templates", answer["templates"], COLUMNS, as_json=False)
