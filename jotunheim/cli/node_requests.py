"""`jotunheim node show|storages|usage|sync|test|drain|privileges`: what nodes tell, and what can be asked of them."""

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from jotunheim.cli.asking import Manner, conclude
from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.nodes import COLUMNS, NodeArgument
from jotunheim.cli.options import Json, Timeout, Wait
from jotunheim.cli.output import (
    Columns,
    Document,
    local_time,
    print_json,
    print_lines,
    print_record,
    print_rows,
    size,
)

RECORD: Columns = {
    **COLUMNS,
    "labels": lambda node: node["labels"],
    "version": lambda node: node["state"]["version"],
    "asked": lambda node: local_time(node["state"]["synced_at"]),
    "error": lambda node: node["state"]["error"] and node["state"]["error"]["message"],
    "not told": lambda node: node["state"]["lacking"],
    "processors": lambda node: node["state"]["cpu_count"],
    "servers": lambda node: node["state"]["servers"],
    "memory": lambda node: size(node["state"]["memory_bytes"]),
    "memory left": lambda node: size(node["state"]["memory_available_bytes"]),
    "disk": lambda node: size(node["state"]["disk_bytes"]),
    "disk left": lambda node: size(node["state"]["disk_available_bytes"]),
    "bridges": lambda node: node["state"]["bridges"],
    "cluster": lambda node: node["state"]["peers"],
}
STORAGES: Columns = {
    "name": lambda storage: storage["name"],
    "type": lambda storage: storage["type"],
    "content": lambda storage: storage["content"],
    "shared": lambda storage: "yes" if storage["shared"] else "no",
    "active": lambda storage: "yes" if storage["active"] else "no",
    "total": lambda storage: size(storage["total_bytes"]),
    "used": lambda storage: size(storage["used_bytes"]),
    "given away": lambda storage: size(storage["reserved_bytes"]),
    "left": lambda storage: size(storage["available_bytes"]),
}
USAGE: Columns = {
    "from": lambda usage: local_time(usage["at"]),
    "processors": lambda usage: f"{usage['cpu']:.0%}",
    "memory": lambda usage: size(round(usage["memory_used_bytes"])),
    "disk": lambda usage: (
        None if usage["storage_used_bytes"] is None else size(round(usage["storage_used_bytes"]))
    ),
    "VMs": lambda usage: f"{usage['running']:.1f}".removesuffix(".0"),
}


def drain(
    node: NodeArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take new servers again.")] = False,
    as_json: Json = False,
) -> None:
    """Let a node take no new servers; those that it has stay."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        answer = api.post(f"/nodes/{node_id(api, node)}/drain", {"drained": not undo})
    print_record("node", answer["node"], COLUMNS, as_json=as_json)


def show(node: NodeArgument, as_json: Json = False) -> None:
    """Show a node: what it told last, and how much of it is left for new servers."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        found = api.get(f"/nodes/{node_id(api, node)}")["node"]
    print_record("node", found, RECORD, as_json=as_json)


def storages(node: NodeArgument, as_json: Json = False) -> None:
    """List the storages of a node, as it told last."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        found = api.all(f"/nodes/{node_id(api, node)}/storages", "storages")
    print_rows("storages", found, STORAGES, as_json=as_json)


def usage(
    node: NodeArgument,
    by_half_hours: Annotated[
        bool, typer.Option("--by-half-hours", help="30 days by half hours, not one day by minutes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how a node was used."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    resolution = 1800 if by_half_hours else 60
    with Api.from_environment() as api:
        found = api.get(f"/nodes/{node_id(api, node)}/usage", resolution_seconds=resolution)["usage"]
    print_rows("usage", found, USAGE, as_json=as_json)


def sync(node: NodeArgument, wait: Wait = False, timeout: Timeout = None, as_json: Json = False) -> None:
    """Ask a node what it has, and find servers that moved. Workers do so every minute, too."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    manner = Manner(wait, timeout, check=False, plan=None, as_json=as_json)
    with Api.from_environment() as api:
        answer = api.post(f"/nodes/{node_id(api, node)}/sync")
        conclude(api, answer, f"Asking {node}", manner, show=_show_outcome)


def _show_outcome(answer: Document) -> None:
    result = answer["job"]["result"]
    moved = [
        f"{server['name']} moved from {server['from_node']} to {server['to_node']}."
        for server in result["moved"]
    ]
    missing = [f"No node of the cluster has the VM of {name}." for name in result["missing"]]
    print_lines(moved + missing + [f"Not told: {said}" for said in result["lacking"]])


def try_out(node: NodeArgument, as_json: Json = False) -> None:
    """Connect to a node and check certificate, token, permissions and storage."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        result = api.post(f"/nodes/{node_id(api, node)}/test")["test"]
    if not as_json:
        version = f", Proxmox VE {result['version']}" if result["version"] else ""
        print_lines([f"Node {node}{version}"])
        for check in result["checks"]:
            print_lines([f"  {'ok    ' if check['ok'] else 'failed'}  {check['name']}: {check['message']}"])
    if not result["ok"]:
        failed = next(check for check in result["checks"] if not check["ok"])
        raise CommandError(
            failed["message"],
            code=result["code"] or "failed",
            exit_code=ExitCode.UNREACHABLE if result["code"] == "node_unavailable" else ExitCode.FAILED,
            hint=failed["hint"],
            document={"test": result},
        )
    if as_json:
        print_json({"test": result})


def print_privileges(
    node: Annotated[str, typer.Argument(metavar="NAME", help="The node's name in Proxmox VE.")],
    token_id: Annotated[
        str, typer.Option(metavar="USER@REALM!NAME", help="The API token to make.")
    ] = "jotunheim@pve!service",  # noqa: S107 - a name, no secret
    vm_storage: Annotated[str, typer.Option(metavar="STORAGE", help="Where disks are put.")] = "local-lvm",
    backup_storage: Annotated[str, typer.Option(metavar="STORAGE", help="Where backups are put.")] = "local",
    iso_storage: Annotated[str, typer.Option(metavar="STORAGE", help="Where ISO images are put.")] = "local",
    bridge: Annotated[str, typer.Option(help="Network bridge of the servers.")] = "vmbr0",
    as_json: Json = False,
) -> None:
    """Print the commands that make a token with no more privileges than are needed; run them on the node as root."""
    from jotunheim.services.nodes import privileges

    wanted = privileges.grants(
        node=node,
        vm_storage=vm_storage,
        backup_storage=backup_storage,
        iso_storage=iso_storage,
        bridge=bridge,
    )
    if as_json:
        print_json(
            {"grants": [{"path": grant.path, "privileges": sorted(grant.privileges)} for grant in wanted]}
        )
    else:
        print_lines(privileges.commands(wanted, token_id))


COMMANDS: Mapping[str, Callable[..., None]] = {
    "show": show,
    "storages": storages,
    "usage": usage,
    "sync": sync,
    "test": try_out,
    "drain": drain,
    "privileges": print_privileges,
}
