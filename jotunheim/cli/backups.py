"""`jotunheim backup …`: backups of servers, and those that are kept of servers that are gone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from jotunheim.cli import backup_schedules
from jotunheim.cli.asking import Manner, ask, conclude, takes_manner
from jotunheim.cli.options import Json, given
from jotunheim.cli.output import Columns, Document, local_time, print_lines, print_rows, size
from jotunheim.data.backup.status import BackupMode, Compression

app = typer.Typer(no_args_is_help=True, help="Backups of servers.")
kept = typer.Typer(no_args_is_help=True, help="Backups that were kept of servers that are gone.")
app.add_typer(kept, name="kept")
app.add_typer(backup_schedules.app, name="schedule")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name of the server.")]
Backup = Annotated[
    str,
    typer.Argument(
        metavar="BACKUP", help="Id of the backup, or how it begins; `latest`: the newest that is ready."
    ),
]
Kept = Annotated[str, typer.Argument(metavar="BACKUP", help="Id of the backup.")]
AsNew = Annotated[
    str | None,
    typer.Option(
        "--as-new",
        metavar="NAME",
        help="Make a new server of it; `jotunheim server create --backup` says more of what that shall be.",
    ),
]
Ipv4 = Annotated[
    int | None, typer.Option("--ipv4", metavar="N", help="IPv4 addresses of the new server, from the pools.")
]
Ipv6 = Annotated[
    int | None, typer.Option("--ipv6", metavar="N", help="IPv6 addresses of the new server, from the pools.")
]
COLUMNS: Columns = {
    "id": lambda backup: backup["id"],
    "status": lambda backup: backup["status"],
    "taken": lambda backup: local_time(backup["taken_at"]) if backup["taken_at"] else None,
    "size": lambda backup: size(backup["size_bytes"]) if backup["size_bytes"] is not None else None,
    "mode": lambda backup: backup["mode"],
    "locked": lambda backup: backup["locked"],
    "notes": lambda backup: backup["notes"],
    "volume": lambda backup: backup["volume"],
}


@dataclass(frozen=True)
class Kind:
    """What can be asked of a backup with no more than its name.

    Attributes:
        path: below the backup's.
        doing: what is said while it is done.
        help: what it does.
    """

    path: str
    method: Literal["post", "delete"]
    doing: str
    help: str


KINDS = {
    "lock": Kind("/lock", "post", "Locking", "Let a backup refuse to be deleted, on its storage too."),
    "unlock": Kind("/lock", "delete", "Unlocking", "Let a backup be deleted again."),
    "delete": Kind("", "delete", "Deleting", "Remove a backup from its storage."),
}


@app.command("list")
def list_(server: Server, as_json: Json = False) -> None:
    """List a server's backups, the newest first."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.all(f"/servers/{server_id(api, server)}/backups", "backups")
    print_rows("backups", found, COLUMNS, as_json=as_json)


@app.command()
@takes_manner
def create(
    server: Server,
    mode: Annotated[
        BackupMode | None,
        typer.Option(help="What the guest notices: nothing, a pause, or a stop and a start."),
    ] = None,
    compress: Annotated[Compression | None, typer.Option(help="By default zstd.")] = None,
    notes: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="NAME", help="By default the node's storage for backups.")
    ] = None,
    *,
    manner: Manner,
) -> None:
    """Make a backup of a server."""
    body = given({"mode": mode, "compress": compress, "notes": notes, "storage": storage})
    options = {"mode": "--mode", "compress": "--compress", "notes": "--notes", "storage": "--storage"}
    ask(server, "backups", "Backing up {name}", manner, body, options, show=_show)


@app.command()
@takes_manner
def restore(
    server: Server,
    backup: Backup,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the server if it runs.")] = False,
    destroy_snapshots: Annotated[
        bool, typer.Option("--destroy-snapshots", help="Let the server's snapshots go with its disks.")
    ] = False,
    as_new: AsNew = None,
    ipv4: Ipv4 = None,
    ipv6: Ipv6 = None,
    *,
    manner: Manner,
) -> None:
    """Put a server back to a backup, and lose what was written since; or make a new server of it, and leave this one alone."""
    if as_new is not None:
        if stop or destroy_snapshots:
            raise typer.BadParameter("leaves the server alone.", param_hint="--as-new")
        _build(_backup_id(server, backup), as_new, ipv4, ipv6, manner)
        return
    if ipv4 is not None or ipv6 is not None:
        raise typer.BadParameter("is needed.", param_hint="--as-new")
    body = {"stop": stop, "destroy_snapshots": destroy_snapshots}
    options = {"stop": "--stop", "destroy_snapshots": "--destroy-snapshots"}
    what = f"backups/{_backup_id(server, backup)}/restore"
    ask(server, what, "Putting {name} back", manner, body, options)


@kept.command("list")
def list_kept(as_json: Json = False) -> None:
    """List the backups of servers that are gone."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.all("/backups", "backups", kept="true")
    columns = {"server": lambda backup: backup["server_name"], **COLUMNS}
    print_rows("backups", found, columns, as_json=as_json)


@kept.command("restore")
@takes_manner
def restore_kept(
    backup: Kept,
    as_new: Annotated[str, typer.Option("--as-new", metavar="NAME", help="Name of the new server.")],
    ipv4: Ipv4 = None,
    ipv6: Ipv6 = None,
    *,
    manner: Manner,
) -> None:
    """Make a new server of a backup. `jotunheim server create --backup` says more of what it shall be."""
    _build(backup, as_new, ipv4, ipv6, manner)


def _build(backup_id: str, name: str, ipv4: int | None, ipv6: int | None, manner: Manner) -> None:
    from jotunheim.cli.client import Api
    from jotunheim.cli.servers import create_one

    addresses = given({"ipv4": ipv4, "ipv6": ipv6})
    with Api.from_environment() as api:
        create_one(api, {"name": name, "backup_id": backup_id, "addresses": addresses}, manner)


def _command(kind: Kind) -> Callable[..., None]:
    """The command about a server's backup."""

    @takes_manner
    def command(
        server: Server,
        backup: Backup,
        *,
        manner: Manner,
    ) -> None:
        title = f"{kind.doing} backup {backup} of {{name}}"
        ask(server, f"backups/{_backup_id(server, backup)}{kind.path}", title, manner, method=kind.method)

    return command


def _kept_command(kind: Kind) -> Callable[..., None]:
    """The same about a backup whose server is gone."""

    @takes_manner
    def command(
        backup: Kept,
        *,
        manner: Manner,
    ) -> None:
        from jotunheim.cli.client import Api, path_part

        with Api.from_environment() as api:
            send = getattr(api, kind.method)
            answer = send(f"/backups/{path_part(backup)}{kind.path}", query=manner.query)
            title = f"{kind.doing} backup {backup} of {answer['backup']['server_name']}"
            conclude(api, answer, title, manner)

    return command


for name, kind in KINDS.items():
    app.command(name, help=kind.help)(_command(kind))
    kept.command(name, help=kind.help)(_kept_command(kind))


def _backup_id(server: str, reference: str) -> str:
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import backup_id, server_id

    with Api.from_environment() as api:
        return backup_id(api, server_id(api, server), reference)


def _show(answer: Document) -> None:
    made = answer["job"]["result"]
    if made:
        print_lines([f"{made['volume']}, {size(made['size_bytes'])}"])
