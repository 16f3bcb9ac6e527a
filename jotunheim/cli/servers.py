"""`jotunheim server …`: creating servers and looking at them."""

from typing import Annotated, Any

import typer

from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.options import Json, Timeout, parse_pairs, parse_size, parse_ssh_keys, secret_from_stdin
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

app = typer.Typer(no_args_is_help=True, help="Servers: creating them and looking at them.")


def addresses(server: Document) -> list[str]:
    """A server's addresses with their prefix lengths."""
    return [f"{address['address']}/{address['prefix_length']}" for address in server["addresses"]]


COLUMNS: Columns = {
    "id": lambda server: server["id"],
    "name": lambda server: server["name"],
    "status": lambda server: server["status"],
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
    "power": lambda server: server["power"],
    "running job": lambda server: server["job_id"],
    "node": lambda server: f"{server['node']['name']}, {server['location']['name']}",
    "vmid": lambda server: server["vmid"],
    "template": lambda server: server["template"]["name"],
    "cores": lambda server: server["cpu"],
    "memory": lambda server: size(server["memory_bytes"]),
    "disk": lambda server: size(server["disk_bytes"]),
    "addresses": addresses,
    "labels": lambda server: server["labels"],
    "tags": lambda server: server["tags"],
    "external id": lambda server: server["external_id"],
    "protected": lambda server: "yes" if server["protected"] else None,
    "created": lambda server: local_time(server["created_at"]),
}
_OPTIONS = {
    "name": "--name",
    "hostname": "--hostname",
    "owner_id": "--owner",
    "node_id": "--node",
    "location_id": "--location",
    "template_id": "--template",
    "cpu": "--cpu",
    "memory_bytes": "--memory",
    "disk_bytes": "--disk",
    "addresses.ipv4": "--ipv4",
    "addresses.ipv6": "--ipv6",
    "ssh_keys": "--ssh-key",
    "password": "--password-stdin",
    "labels": "--label",
    "tags": "--tag",
    "external_id": "--external-id",
    "limits.snapshots": "--snapshot-limit",
    "limits.backups": "--backup-limit",
}


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Name, unique among its owner's servers.")],
    template: Annotated[str, typer.Option(metavar="ID|NAME", help="What to clone.")],
    hostname: Annotated[str | None, typer.Option(help="Host name inside; by default the name.")] = None,
    owner: Annotated[int | None, typer.Option(metavar="ID", help="Whose it is; by default yours.")] = None,
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="By default one is chosen.")] = None,
    location: Annotated[str | None, typer.Option(metavar="ID|CODE", help="Where it shall be.")] = None,
    cpu: Annotated[int | None, typer.Option(metavar="CORES")] = None,
    memory: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="For example 2GiB.")
    ] = None,
    disk: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="By default as the template.")
    ] = None,
    ipv4: Annotated[int | None, typer.Option(metavar="N", help="IPv4 addresses from the pools.")] = None,
    ipv6: Annotated[int | None, typer.Option(metavar="N", help="IPv6 addresses from the pools.")] = None,
    ssh_key: Annotated[
        list[str] | None, typer.Option(metavar="KEY|@FILE", help="Public key, or a file of them; repeatable.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the guest's password from standard input.")
    ] = False,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the VM in Proxmox VE; repeatable.")] = None,
    external_id: Annotated[str | None, typer.Option(metavar="ID", help="Your own id for it.")] = None,
    snapshot_limit: Annotated[int | None, typer.Option(metavar="N", help="Snapshots it may have.")] = None,
    backup_limit: Annotated[int | None, typer.Option(metavar="N", help="Backups it may have.")] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it when it is built.")] = True,
    protected: Annotated[bool, typer.Option("--protected", help="Refuse to delete it.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is built.")] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Create a server. Without keys and password, a password is generated and shown once."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import location_id, node_id, template_id

    if timeout is not None and not wait:
        raise typer.BadParameter("needs --wait.", param_hint="--timeout")
    labels = parse_pairs("--label", label or [])
    keys = parse_ssh_keys(ssh_key or [])
    password = secret_from_stdin("--password-stdin") if password_stdin else None
    with Api.from_environment() as api:
        on_node = node_id(api, node) if node else None
        wishes: dict[str, Any] = {
            "name": name,
            "hostname": hostname,
            "owner_id": owner,
            "node_id": on_node,
            "location_id": location_id(api, location) if location else None,
            "template_id": template_id(api, template, on_node),
            "cpu": cpu,
            "memory_bytes": memory,
            "disk_bytes": disk,
            "addresses": _given({"ipv4": ipv4, "ipv6": ipv6}),
            "ssh_keys": keys,
            "password": password,
            "start": start,
            "labels": labels,
            "tags": tag or [],
            "external_id": external_id,
            "protected": protected,
            "limits": _given({"snapshots": snapshot_limit, "backups": backup_limit}),
        }
        created = api.post("/servers", _given(wishes), _OPTIONS)
        if not as_json:
            print_lines([f"Server {name} is {created['server']['id']}, its job {created['job']['id']}."])
            if created["root_password"]:
                print_lines([f"Password, shown only now: {created['root_password']}"])
        if wait:
            created = _built(api, created, timeout, as_json=as_json)
            if not as_json:
                print_record("server", created["server"], RECORD, as_json=False)
    if as_json:
        print_json(created)
    elif not wait:
        print_lines([f"Follow it: jotunheim job watch {created['job']['id']}"])


@app.command("list")
def list_(
    label_selector: Annotated[
        str | None, typer.Option("--label", metavar="K=V[,K=V]", help="Only servers with these labels.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the servers."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        servers = api.all("/servers", "servers", label_selector=label_selector)
    print_rows("servers", servers, COLUMNS, as_json=as_json)


@app.command()
def show(server: Annotated[str, typer.Argument(metavar="ID|NAME")], as_json: Json = False) -> None:
    """Show a server."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.get(f"/servers/{server_id(api, server)}")["server"]
    print_record("server", found, RECORD, as_json=as_json)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """What was given; the service knows the defaults."""
    return {name: value for name, value in values.items() if value is not None}


def _built(api: Any, created: Document, timeout: float | None, *, as_json: bool) -> Document:
    """The answer to the creation, as it stands when the job is over.

    Raises:
        CommandError: with the answer as its document, for it may hold a password that is shown only once.
    """
    from jotunheim.cli.board import JobBoard, Silence
    from jotunheim.cli.checklist import Checklist
    from jotunheim.cli.waiting import failure_of, wait_for

    job_id = created["job"]["id"]
    try:
        if as_json:
            ended = wait_for(api, [job_id], timeout, Silence())
        else:
            with Checklist() as checklist:
                board = JobBoard(api, checklist, {job_id: f"Building {created['server']['name']}"})
                ended = wait_for(api, [job_id], timeout, board)
        server = api.get(f"/servers/{created['server']['id']}")["server"]
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted; the job goes on.",
            code="interrupted",
            exit_code=ExitCode.INTERRUPTED,
            hint=f"jotunheim job watch {job_id}",
            document=created,
        ) from None
    except CommandError as error:
        error.document = created
        raise
    created |= {"server": server, "job": ended[job_id]}
    failure = failure_of(ended[job_id])
    if failure:
        failure.document = created
        raise failure
    return created
