"""`jotunheim orphan …`: what stands on nodes as if it were ours and is in no record."""

from typing import Annotated

import typer

from jotunheim.cli.asking import Manner, conclude, takes_manner
from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json, Timeout, Wait, confirm, given
from jotunheim.cli.output import Columns, Document, local_time, print_lines, print_rows, size
from jotunheim.data.node.orphan import Caution, OrphanKind

app = typer.Typer(no_args_is_help=True, help="What is on nodes with our mark, and in no record.")

COLUMNS: Columns = {
    "id": lambda orphan: orphan["id"],
    "kind": lambda orphan: orphan["kind"],
    "node": lambda orphan: orphan["node"]["name"],
    "vmid": lambda orphan: orphan["vmid"],
    "name": lambda orphan: orphan["name"],
    "size": lambda orphan: size(orphan["size_bytes"]),
    "protected": lambda orphan: orphan["protected"],
    "cautions": lambda orphan: orphan["cautions"],
    "found": lambda orphan: local_time(orphan["found_at"]),
}


@app.command("list")
def list_(
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="Only on this node.")] = None,
    kind: Annotated[OrphanKind | None, typer.Option(help="Only such.")] = None,
    as_json: Json = False,
) -> None:
    """List orphans, as they were found last. Each caution is a reason why it may be somebody's after all."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        on_node = node_id(api, node) if node else None
        found = api.all("/orphans", "orphans", node_id=on_node, kind=kind)
    print_rows("orphans", found, COLUMNS, as_json=as_json)


@app.command()
def scan(
    node: Annotated[str, typer.Argument(metavar="ID|NAME")],
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Look for orphans on a node; nothing is removed. Workers do so every day, too."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    manner = Manner(wait, timeout, check=False, plan=None, as_json=as_json)
    with Api.from_environment() as api:
        answer = api.post(f"/nodes/{node_id(api, node)}/scan")
        conclude(api, answer, f"Looking for orphans on {node}", manner, show=_show_found)


@app.command()
@takes_manner
def prune(
    orphan: Annotated[str, typer.Argument(metavar="ORPHAN", help="Id of the orphan.")],
    despite: Annotated[
        list[Caution] | None,
        typer.Option(
            help="A caution that you have looked at; repeatable. Each that the orphan has is needed."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed without a terminal.")] = False,
    *,
    manner: Manner,
) -> None:
    """Remove an orphan from its node for good, if it is still what was found."""
    from jotunheim.cli.client import Api, path_part

    with Api.from_environment() as api:
        path = f"/orphans/{path_part(orphan)}"
        if not (yes or manner.check or manner.plan):
            found = api.get(path)["orphan"]
            if not confirm(f"Remove {_described(found)} for good?", "--yes"):
                raise CommandError("Nothing was removed.", code="not_confirmed")
        body = given({"despite": despite})
        answer = api.post(f"{path}/prune", body, {"despite": "--despite"}, query=manner.query)
        conclude(api, answer, f"Removing {_described(answer['orphan'])}", manner)


def _described(orphan: Document) -> str:
    where = f"on node {orphan['node']['name']}"
    if orphan["kind"] == OrphanKind.VM:
        return f"VM {orphan['vmid']} ({orphan['name']}) {where}"
    return f"{orphan['kind']} {orphan['volume']} {where}"


def _show_found(answer: Document) -> None:
    result = answer["job"]["result"]
    print_lines(
        [
            f"Found {result['found']}, {result['new']} of them new; {result['gone']} are no more.",
            *(f"Not read: {said}" for said in result["lacking"]),
        ]
    )
