"""`jotunheim node …`: the Proxmox VE hosts that servers are placed on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.options import Json, node_token_secret, read_file
from jotunheim.cli.output import Columns, print_json, print_lines, print_record, print_rows

app = typer.Typer(no_args_is_help=True, help="Nodes: the Proxmox VE hosts that servers are placed on.")

COLUMNS: Columns = {
    "id": lambda node: node["id"],
    "name": lambda node: node["name"],
    "host": lambda node: f"{node['host']}:{node['port']}",
    "location": lambda node: node["location_id"],
    "token": lambda node: node["token_id"],
    "trust": lambda node: (
        "fingerprint" if node["tls"]["fingerprint"] else "own CA" if node["tls"]["ca_pem"] else "system"
    ),
    "storage": lambda node: node["vm_storage"],
    "bridge": lambda node: node["bridge"],
}
_OPTIONS = {
    "name": "NAME",
    "location_id": "--location",
    "host": "--host",
    "port": "--port",
    "token_id": "--token-id",
    "token_secret": "--token-secret-stdin",
    "tls.ca_pem": "--ca-file",
    "tls.fingerprint": "--fingerprint",
    "vm_storage": "--vm-storage",
    "backup_storage": "--backup-storage",
    "iso_storage": "--iso-storage",
    "bridge": "--bridge",
    "memory_overcommit": "--memory-overcommit",
    "disk_overcommit": "--disk-overcommit",
    "max_concurrent_clones": "--max-concurrent-clones",
}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The node's name in Proxmox VE, e.g. pve1.")],
    location: Annotated[str, typer.Option(metavar="ID|CODE", help="Where the node stands.")],
    host: Annotated[str, typer.Option(help="Host name or address of the node's API.")],
    token_id: Annotated[str, typer.Option(metavar="USER@REALM!NAME", help="The API token.")],
    port: Annotated[int, typer.Option(help="Port of the node's API.")] = 8006,
    token_secret_stdin: Annotated[
        bool,
        typer.Option(
            "--token-secret-stdin",
            help="Read the token's secret from standard input; else from JOTUNHEIM_NODE_TOKEN_SECRET.",
        ),
    ] = False,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate authorities (PEM) to trust.")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Trust the one certificate with this fingerprint.")
    ] = None,
    vm_storage: Annotated[str | None, typer.Option(metavar="STORAGE", help="Where disks are put.")] = None,
    backup_storage: Annotated[
        str | None, typer.Option(metavar="STORAGE", help="Where backups are put.")
    ] = None,
    iso_storage: Annotated[
        str | None, typer.Option(metavar="STORAGE", help="Where ISO images are put.")
    ] = None,
    bridge: Annotated[str | None, typer.Option(help="Network bridge of the servers.")] = None,
    memory_overcommit: Annotated[
        float | None, typer.Option(metavar="FACTOR", help="Memory to give away, times what there is.")
    ] = None,
    disk_overcommit: Annotated[
        float | None, typer.Option(metavar="FACTOR", help="Disk space to give away, times what there is.")
    ] = None,
    max_concurrent_clones: Annotated[
        int | None, typer.Option(metavar="N", help="Clones that may run at once.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a node. `jotunheim node test` then tells whether it can be used."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id

    body: dict[str, Any] = {
        "name": name,
        "host": host,
        "port": port,
        "token_id": token_id,
        "token_secret": node_token_secret(from_stdin=token_secret_stdin),
        "tls": {
            "verify": fingerprint is None,
            "ca_pem": read_file("--ca-file", ca_file) if ca_file else None,
            "fingerprint": fingerprint,
        },
    }
    left_to_the_service = {
        "vm_storage": vm_storage,
        "backup_storage": backup_storage,
        "iso_storage": iso_storage,
        "bridge": bridge,
        "memory_overcommit": memory_overcommit,
        "disk_overcommit": disk_overcommit,
        "max_concurrent_clones": max_concurrent_clones,
    }
    body |= {field: value for field, value in left_to_the_service.items() if value is not None}
    with Api.from_environment() as api:
        body["location_id"] = location_id(api, location)
        answer = api.post("/nodes", body, _OPTIONS)
    print_record("node", answer["node"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the nodes."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        print_rows("nodes", api.all("/nodes", "nodes"), COLUMNS, as_json=as_json)


@app.command("test")
def try_out(node: Annotated[str, typer.Argument(metavar="ID|NAME")], as_json: Json = False) -> None:
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
