"""`jotunheim server …`: creating servers and looking at them.

What can be done to one that exists stands in `server_changes` and `server_requests`.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jotunheim.cli.asking import Manner, conclude, takes_manner
from jotunheim.cli.options import (
    Json,
    KeyNames,
    PasswordStdin,
    Sort,
    SshKeys,
    either,
    given,
    parse_duration,
    parse_pairs,
    parse_size,
    secret_from_stdin,
)
from jotunheim.cli.output import Columns, Document, local_time, print_record, print_rows, size
from jotunheim.data.server.status import Power, ServerStatus

if TYPE_CHECKING:
    from jotunheim.cli.client import Api

app = typer.Typer(no_args_is_help=True, help="Servers: creating, changing and deleting them.")


def status(server: Document) -> str:
    """A server's status, and whether it is suspended."""
    return f"{server['status']}, suspended" if server["suspended"] else str(server["status"])


def _suspension(server: Document) -> str | None:
    found = server["suspended"]
    return f"since {local_time(found['at'])}: {found['reason']}" if found else None


def _key(line: str) -> str:
    """A public key as people tell them apart: its type, its end and its comment."""
    type_, _, rest = line.strip().partition(" ")
    blob, _, comment = rest.strip().partition(" ")
    return f"{type_} …{blob[-8:]} {comment}".rstrip()


def _template(server: Document) -> str:
    if server["template"]:
        return str(server["template"]["name"])
    return "none: imported" if server["imported"] else "none"


def addresses(server: Document) -> list[str]:
    """A server's addresses with their prefix lengths."""
    return [f"{address['address']}/{address['prefix_length']}" for address in server["addresses"]]


COLUMNS: Columns = {
    "id": lambda server: server["id"],
    "name": lambda server: server["name"],
    "status": status,
    "power": lambda server: server["power"],
    "node": lambda server: server["node"]["name"],
    "vmid": lambda server: server["vmid"],
    "addresses": addresses,
}
RECORD: Columns = {
    "id": lambda server: server["id"],
    "name": lambda server: server["name"],
    "hostname": lambda server: server["hostname"],
    "status": lambda server: server["status"],
    "suspended": _suspension,
    "power": lambda server: server["power"],
    "running job": lambda server: server["job_id"],
    "node": lambda server: f"{server['node']['name']}, {server['location']['name']}",
    "vmid": lambda server: server["vmid"],
    "template": lambda server: _template(server),
    "cores": lambda server: server["cpu"],
    "memory": lambda server: size(server["memory_bytes"]),
    "disk": lambda server: size(server["disk_bytes"]),
    "addresses": addresses,
    "prefixes": lambda server: server["delegated_prefixes"],
    "mac": lambda server: server["mac"],
    "network": lambda server: server["network"],
    "cloud-init": lambda server: server["cloud_init"],
    "ssh keys": lambda server: [_key(key) for key in server["ssh_keys"]],
    "boot order": lambda server: server["boot_order"],
    "iso image": lambda server: server["iso"]["name"] if server["iso"] else None,
    "guest agent": lambda server: None if server["agent"] else "no",
    "anti-spoofing": lambda server: None if server["anti_spoofing"] else "no",
    "description": lambda server: server["description"],
    "labels": lambda server: server["labels"],
    "tags": lambda server: server["tags"],
    "external id": lambda server: server["external_id"],
    "limits": lambda server: {
        name: "unlimited" if value is None else value for name, value in server["limits"].items()
    },
    "protected": lambda server: "yes" if server["protected"] else None,
    "expires": lambda server: local_time(server["expires_at"]),
    "created": lambda server: local_time(server["created_at"]),
}
OPTIONS = {
    "name": "--name",
    "hostname": "--hostname",
    "owner_id": "--owner",
    "node_id": "--node",
    "location_id": "--location",
    "node_labels": "--node-label",
    "template_id": "--template",
    "template_group_id": "--template-group",
    "backup_id": "--backup",
    "cpu": "--cpu",
    "memory_bytes": "--memory",
    "disk_bytes": "--disk",
    "addresses.ipv4": "--ipv4",
    "addresses.ipv6": "--ipv6",
    "addresses.ipv6_prefixes": "--ipv6-prefixes",
    "addresses.explicit": "--address",
    "ssh_keys": "--ssh-key",
    "ssh_key_ids": "--key",
    "password": "--password-stdin",
    "labels": "--label",
    "tags": "--tag",
    "external_id": "--external-id",
    "limits.snapshots": "--snapshot-limit",
    "limits.backups": "--backup-limit",
    "expires_in_seconds": "--expires-in",
}


@app.command()
@takes_manner
def create(
    name: Annotated[str, typer.Option(help="Name, unique among its owner's servers.")],
    template: Annotated[
        str | None, typer.Option(metavar="ID|NAME", help="What to clone; of a group any will do.")
    ] = None,
    template_group: Annotated[
        str | None, typer.Option(metavar="ID|NAME", help="Whichever template of it is on the chosen node.")
    ] = None,
    backup: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The backup of another server, in place of a template."),
    ] = None,
    hostname: Annotated[str | None, typer.Option(help="Host name inside; by default the name.")] = None,
    owner: Annotated[
        int | None, typer.Option(metavar="ID", help="Whose it is; by default yours, or the backup's.")
    ] = None,
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="By default one is chosen.")] = None,
    location: Annotated[str | None, typer.Option(metavar="ID|CODE", help="Where it shall be.")] = None,
    node_label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only nodes that have it; repeatable.")
    ] = None,
    cpu: Annotated[int | None, typer.Option(metavar="CORES")] = None,
    memory: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="For example 2GiB.")
    ] = None,
    disk: Annotated[
        int | None,
        typer.Option(parser=parse_size, metavar="SIZE", help="By default as the template or the backup."),
    ] = None,
    ipv4: Annotated[int | None, typer.Option(metavar="N", help="IPv4 addresses from the pools.")] = None,
    ipv6: Annotated[int | None, typer.Option(metavar="N", help="IPv6 addresses from the pools.")] = None,
    ipv6_prefixes: Annotated[
        int | None, typer.Option(metavar="N", help="Whole IPv6 prefixes for networks behind it.")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Just this address or prefix, among those; repeatable."),
    ] = None,
    ssh_key: SshKeys = None,
    key: KeyNames = None,
    no_ssh_keys: Annotated[
        bool, typer.Option("--no-ssh-keys", help="None of those the owner keeps.")
    ] = False,
    password_stdin: PasswordStdin = False,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the VM in Proxmox VE; repeatable.")] = None,
    external_id: Annotated[str | None, typer.Option(metavar="ID", help="Your own id for it.")] = None,
    snapshot_limit: Annotated[int | None, typer.Option(metavar="N", help="Snapshots it may have.")] = None,
    backup_limit: Annotated[int | None, typer.Option(metavar="N", help="Backups it may have.")] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it when it is built.")] = True,
    anti_spoofing: Annotated[
        bool,
        typer.Option(
            "--anti-spoofing/--no-anti-spoofing",
            help="Whether it can only send from its own MAC and IP addresses.",
        ),
    ] = True,
    protected: Annotated[bool, typer.Option("--protected", help="Refuse to delete it.")] = False,
    expires_in: Annotated[
        int | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help="Delete it after 90s, 30m, 2h, 7d or 2w."
        ),
    ] = None,
    *,
    manner: Manner,
) -> None:
    """Create a server from a template or a backup. It gets the keys that its owner keeps, or else a password, shown once."""
    from jotunheim.cli import keys
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id, node_id, template_group_id, template_id

    if sum(origin is not None for origin in (template, template_group, backup)) != 1:
        raise typer.BadParameter("give it, --template-group or --backup.", param_hint="--template")
    labels = parse_pairs("--label", label or [])
    node_labels = parse_pairs("--node-label", node_label or [])
    without = either([*(ssh_key or ()), *(key or ())], "--ssh-key", no_ssh_keys, "--no-ssh-keys") == []
    password = secret_from_stdin("--password-stdin") if password_stdin else None
    with Api.from_environment() as api:
        on_node = node_id(api, node) if node else None
        wishes: dict[str, Any] = {
            "name": name,
            "hostname": hostname,
            "owner_id": owner,
            "node_id": on_node,
            "location_id": location_id(api, location) if location else None,
            "node_labels": node_labels,
            "template_id": template_id(api, template, on_node) if template else None,
            "template_group_id": template_group_id(api, template_group) if template_group else None,
            "backup_id": backup,
            "cpu": cpu,
            "memory_bytes": memory,
            "disk_bytes": disk,
            "addresses": given(
                {"ipv4": ipv4, "ipv6": ipv6, "ipv6_prefixes": ipv6_prefixes, "explicit": address or None}
            ),
            **({"ssh_keys": []} if without else keys.chosen(api, ssh_key, key, owner)),
            "password": password,
            "anti_spoofing": anti_spoofing,
            "start": start,
            "labels": labels,
            "tags": tag or [],
            "external_id": external_id,
            "protected": protected,
            "expires_in_seconds": expires_in,
            "limits": given({"snapshots": snapshot_limit, "backups": backup_limit}),
        }
        create_one(api, given(wishes), manner)


def create_one(api: "Api", wishes: Document, manner: Manner) -> None:
    """Ask for a server, and tell what becomes of it.

    Args:
        wishes: the request's body.
    """
    name = wishes["name"]
    answer = api.post("/servers", wishes, OPTIONS, query=manner.query)
    job_id, server = answer["job"]["id"], answer["server"]
    conclude(
        api,
        answer,
        f"Building {name}",
        manner,
        told=(
            f"Server {name} would be VM {server['vmid']} on {server['node']['name']}; job {job_id} finds out."
            if manner.check
            else f"Server {name} is {server['id']}, its job {job_id}."
        ),
        show=None
        if manner.check
        else lambda built: print_record("server", built["server"], RECORD, as_json=False),
    )


@app.command("list")
def list_(
    label_selector: Annotated[
        str | None, typer.Option("--label", metavar="K=V[,K=V]", help="Only servers with these labels.")
    ] = None,
    status: Annotated[ServerStatus | None, typer.Option(help="Only servers in this state.")] = None,
    power: Annotated[Power | None, typer.Option(help="Only servers that run, or do not.")] = None,
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="Only servers on this node.")] = None,
    location: Annotated[str | None, typer.Option(metavar="ID|CODE", help="Only servers there.")] = None,
    template: Annotated[
        str | None, typer.Option(metavar="ID|NAME", help="Only servers made from this one.")
    ] = None,
    owner: Annotated[int | None, typer.Option(metavar="ID", help="Only this user's servers.")] = None,
    external_id: Annotated[str | None, typer.Option(metavar="ID", help="Only servers with your id.")] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List the servers."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id, node_id, template_id

    with Api.from_environment() as api:
        on_node = node_id(api, node) if node else None
        servers = api.all(
            "/servers",
            "servers",
            label_selector=label_selector,
            status=status.value if status else None,
            power=power.value if power else None,
            node_id=on_node,
            location_id=location_id(api, location) if location else None,
            template_id=template_id(api, template, on_node) if template else None,
            owner_id=owner,
            external_id=external_id,
            sort=sort,
        )
    print_rows("servers", servers, COLUMNS, as_json=as_json)


@app.command()
def show(server: Annotated[str, typer.Argument(metavar="ID|NAME")], as_json: Json = False) -> None:
    """Show a server."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.get(f"/servers/{server_id(api, server)}")["server"]
    print_record("server", found, RECORD, as_json=as_json)
