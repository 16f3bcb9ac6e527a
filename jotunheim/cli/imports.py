"""`jotunheim node unmanaged` and `jotunheim server import`: VMs that somebody else has made."""

from typing import Annotated

import typer

from jotunheim.cli.asking import Manner, conclude, takes_manner
from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json, confirm, given, parse_pairs
from jotunheim.cli.output import Columns, Document, print_lines, print_rows, size

COLUMNS: Columns = {
    "vmid": lambda machine: machine["vmid"],
    "name": lambda machine: machine["name"],
    "kind": lambda machine: machine["kind"],
    "status": lambda machine: machine["status"],
    "cores": lambda machine: machine["cpu"],
    "memory": lambda machine: size(machine["memory_bytes"]),
    "disk": lambda machine: size(machine["disk_bytes"]),
    "can be imported": lambda machine: (
        "yes" if machine["importable"] else f"no: {', '.join(machine['reasons'])}"
    ),
}
_OPTIONS = {
    "node_id": "--node",
    "vmid": "--vmid",
    "name": "--name",
    "hostname": "--hostname",
    "owner_id": "--owner",
    "template_id": "--template",
    "labels": "--label",
    "external_id": "--external-id",
    "force": "--force",
    "confirm": "--yes",
}


def unmanaged(
    node: Annotated[str, typer.Argument(metavar="ID|NAME")],
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only those with this in their names.")
    ] = None,
    importable: Annotated[
        bool, typer.Option("--importable", help="Only those that can be imported.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the machines on a node that are none of our servers, and whether they can be imported."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        found = api.all(
            f"/nodes/{node_id(api, node)}/unmanaged",
            "vms",
            name=name,
            importable="true" if importable else None,
        )
    print_rows("vms", found, COLUMNS, as_json=as_json)


@takes_manner
def import_(
    node: Annotated[str, typer.Option(metavar="ID|NAME", help="The node that has it.")],
    vmid: Annotated[int, typer.Option(help="The VM's VMID there.")],
    name: Annotated[str | None, typer.Option(help="What to call it; by default as the VM.")] = None,
    hostname: Annotated[str | None, typer.Option(help="Host name inside; by default the VM's name.")] = None,
    owner: Annotated[int | None, typer.Option(metavar="ID", help="Whose it is; by default yours.")] = None,
    template: Annotated[
        str | None,
        typer.Option(metavar="ID|NAME", help="What it is rebuilt from, when nothing else is named."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Repeatable.")] = None,
    external_id: Annotated[str | None, typer.Option(metavar="ID", help="Your own id for it.")] = None,
    protected: Annotated[
        bool, typer.Option("--protected/--unprotected", help="Whether deleting it is refused.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Take one that is marked for a server that is none of ours.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed without a terminal.")] = False,
    *,
    manner: Manner,
) -> None:
    """Make a server of a VM that somebody else has made. It is marked as ours; nothing else of it changes."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id, template_id

    with Api.from_environment() as api:
        on_node = node_id(api, node)
        if not (yes or manner.check or manner.plan):
            found = api.all(f"/nodes/{on_node}/unmanaged", "vms", vmid=vmid)
            what = f"{found[0]['name']} ({found[0]['status']}), VM {vmid}" if found else f"VM {vmid}"
            if not confirm(
                f"Import {what} of {node}? It is marked as ours; nothing else of it changes.", "--yes"
            ):
                raise CommandError("Nothing was imported.", code="not_confirmed")
        body = given(
            {
                "node_id": on_node,
                "vmid": vmid,
                "name": name,
                "hostname": hostname,
                "owner_id": owner,
                "template_id": template_id(api, template, on_node) if template else None,
                "labels": parse_pairs("--label", label or []),
                "external_id": external_id,
                "protected": protected,
                "force": force,
                "confirm": not (manner.check or manner.plan),
            }
        )
        answer = api.post("/servers/import", body, _OPTIONS, query=manner.query)
        server = answer["server"]
        told = f"VM {vmid} {'would become' if manner.check else 'becomes'} server {server['name']} ({server['id']})"
        conclude(
            api,
            answer,
            f"Importing {server['name']}",
            manner,
            told=f"{told}; job {answer['job']['id']}.",
            show=_show,
        )


def _show(answer: Document) -> None:
    """Say which of its addresses it has from the pools now."""
    result = answer["job"]["result"] or {}
    if result.get("addresses_taken"):
        print_lines([f"Addresses from the pools: {', '.join(result['addresses_taken'])}"])
    for left in result.get("addresses_left", []):
        print_lines([f"Not from a pool: {left['address']}: {left['reason']}"])
    if not result.get("uuid_kept", True):
        print_lines(["The VM gets another SMBIOS UUID; a guest that runs sees it at its next start."])
