"""`jotunheim node add|change|delete|list`: the Proxmox VE hosts that servers are placed on.

What they tell, and what can be asked of them, stands in `node_requests`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jotunheim.cli.options import Json, Sort, either, given, node_token_secret, parse_pairs, read_file
from jotunheim.cli.output import Columns, print_record, print_rows

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
    "status": lambda node: node["state"]["status"],
    "new servers": lambda node: "no: drained" if node["drained"] else "yes",
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
    "labels": "--label",
}


SecretFromStdin = Annotated[
    bool,
    typer.Option(
        "--token-secret-stdin",
        help="Read the token's secret from standard input; else from JOTUNHEIM_NODE_TOKEN_SECRET.",
    ),
]
CaFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate authorities (PEM) to trust.")]
Fingerprint = Annotated[
    str | None, typer.Option(metavar="SHA256", help="Trust the one certificate with this fingerprint.")
]
VmStorage = Annotated[str | None, typer.Option(metavar="STORAGE", help="Where disks are put.")]
BackupStorage = Annotated[str | None, typer.Option(metavar="STORAGE", help="Where backups are put.")]
IsoStorage = Annotated[str | None, typer.Option(metavar="STORAGE", help="Where ISO images are put.")]
Bridge = Annotated[str | None, typer.Option(help="Network bridge of the servers.")]
MemoryOvercommit = Annotated[
    float | None, typer.Option(metavar="FACTOR", help="Memory to give away, times what there is.")
]
DiskOvercommit = Annotated[
    float | None, typer.Option(metavar="FACTOR", help="Disk space to give away, times what there is.")
]
Clones = Annotated[int | None, typer.Option(metavar="N", help="Clones that may run at once.")]
Label = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="What servers can ask for with --node-label; repeatable."),
]
NodeArgument = Annotated[str, typer.Argument(metavar="ID|NAME")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The node's name in Proxmox VE, e.g. pve1.")],
    location: Annotated[str, typer.Option(metavar="ID|CODE", help="Where the node stands.")],
    host: Annotated[str, typer.Option(help="Host name or address of the node's API.")],
    token_id: Annotated[str, typer.Option(metavar="USER@REALM!NAME", help="The API token.")],
    port: Annotated[int, typer.Option(help="Port of the node's API.")] = 8006,
    token_secret_stdin: SecretFromStdin = False,
    ca_file: CaFile = None,
    fingerprint: Fingerprint = None,
    vm_storage: VmStorage = None,
    backup_storage: BackupStorage = None,
    iso_storage: IsoStorage = None,
    bridge: Bridge = None,
    memory_overcommit: MemoryOvercommit = None,
    disk_overcommit: DiskOvercommit = None,
    max_concurrent_clones: Clones = None,
    label: Label = None,
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
        "tls": _tls(ca_file, fingerprint),
    }
    left_to_the_service = {
        "vm_storage": vm_storage,
        "backup_storage": backup_storage,
        "iso_storage": iso_storage,
        "bridge": bridge,
        "memory_overcommit": memory_overcommit,
        "disk_overcommit": disk_overcommit,
        "max_concurrent_clones": max_concurrent_clones,
        "labels": parse_pairs("--label", label) if label else None,
    }
    with Api.from_environment() as api:
        body |= given(left_to_the_service) | {"location_id": location_id(api, location)}
        answer = api.post("/nodes", body, _OPTIONS)
    print_record("node", answer["node"], COLUMNS, as_json=as_json)


@app.command()
def change(
    node: NodeArgument,
    name: Annotated[str | None, typer.Option(help="The node's name in Proxmox VE.")] = None,
    location: Annotated[str | None, typer.Option(metavar="ID|CODE", help="Where the node stands.")] = None,
    host: Annotated[str | None, typer.Option(help="Host name or address of the node's API.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the node's API.")] = None,
    token_id: Annotated[str | None, typer.Option(metavar="USER@REALM!NAME", help="The API token.")] = None,
    token_secret_stdin: Annotated[
        bool, typer.Option("--token-secret-stdin", help="Read the token's new secret from standard input.")
    ] = False,
    ca_file: CaFile = None,
    fingerprint: Fingerprint = None,
    system_cas: Annotated[
        bool, typer.Option("--system-cas", help="Trust the certificate authorities of the system.")
    ] = False,
    vm_storage: VmStorage = None,
    backup_storage: BackupStorage = None,
    iso_storage: IsoStorage = None,
    bridge: Bridge = None,
    memory_overcommit: MemoryOvercommit = None,
    disk_overcommit: DiskOvercommit = None,
    max_concurrent_clones: Clones = None,
    label: Label = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Take all its labels away.")] = False,
    as_json: Json = False,
) -> None:
    """Change a node. A new token is used from the next run on; revoke the old one when running jobs have ended."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id, node_id

    if system_cas and (ca_file or fingerprint):
        raise typer.BadParameter("contradicts --ca-file and --fingerprint.", param_hint="--system-cas")
    body = given(
        {
            "name": name,
            "host": host,
            "port": port,
            "token_id": token_id,
            "token_secret": node_token_secret(from_stdin=True) if token_secret_stdin else None,
            "tls": _tls(ca_file, fingerprint) if ca_file or fingerprint or system_cas else None,
            "vm_storage": vm_storage,
            "backup_storage": backup_storage,
            "iso_storage": iso_storage,
            "bridge": bridge,
            "memory_overcommit": memory_overcommit,
            "disk_overcommit": disk_overcommit,
            "max_concurrent_clones": max_concurrent_clones,
        }
    )
    labels = either(label, "--label", no_labels, "--no-labels")
    if labels is not None:
        body["labels"] = parse_pairs("--label", labels)
    options = {**_OPTIONS, "name": "--name"}
    with Api.from_environment() as api:
        if location is not None:
            body["location_id"] = location_id(api, location)
        answer = api.patch(f"/nodes/{node_id(api, node)}", body, options)
    print_record("node", answer["node"], COLUMNS, as_json=as_json)


@app.command()
def delete(node: NodeArgument, as_json: Json = False) -> None:
    """Forget a node without servers, templates and address pools of its own; the host is not touched."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        answer = api.delete(f"/nodes/{node_id(api, node)}")
    print_record("node", answer["node"], COLUMNS, as_json=as_json)


def _tls(ca_file: Path | None, fingerprint: str | None) -> dict[str, Any]:
    return {
        "verify": fingerprint is None,
        "ca_pem": read_file("--ca-file", ca_file) if ca_file else None,
        "fingerprint": fingerprint,
    }


@app.command("list")
def list_(
    location: Annotated[
        str | None, typer.Option(metavar="ID|CODE", help="Only nodes that stand there.")
    ] = None,
    drained: Annotated[
        bool | None,
        typer.Option("--drained/--not-drained", help="Only nodes that take no new servers, or do."),
    ] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List the nodes."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id

    with Api.from_environment() as api:
        there = location_id(api, location) if location else None
        nodes = api.all("/nodes", "nodes", location_id=there, drained=drained, sort=sort)
    print_rows("nodes", nodes, COLUMNS, as_json=as_json)
