"""`jotunheim backup schedule …`: backups that are made again and again."""

from typing import Annotated, Any

import typer

from jotunheim.cli.options import Check, Json, given, parse_duration
from jotunheim.cli.output import Columns, Document, local_time, print_record, print_rows
from jotunheim.data.backup.schedule import Keep
from jotunheim.data.backup.status import BackupMode, Compression

app = typer.Typer(no_args_is_help=True, help="Backups that are made again and again.")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name of the server.")]
Schedule = Annotated[int, typer.Argument(metavar="ID", help="Of the schedule.", min=1)]
CRON_HELP = "Minute, hour, day, month, weekday: `30 3 * * *` is every day at half past three."
TimeZone = Annotated[
    str | None, typer.Option("--timezone", metavar="ZONE", help="What its hours are of; by default UTC.")
]
JitterOption = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Each begins up to so much later, e.g. 30m.")
]
Mode = Annotated[
    BackupMode | None, typer.Option(help="What the guest notices; by default nothing: snapshot.")
]
Compress = Annotated[Compression | None, typer.Option(help="By default zstd.")]
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="RULE=N",
        help="For example daily=7; also last, hourly, weekly, monthly. None: all of them.",
    ),
]
COLUMNS: Columns = {
    "id": lambda schedule: schedule["id"],
    "cron": lambda schedule: schedule["cron"],
    "timezone": lambda schedule: schedule["timezone"],
    "keep": lambda schedule: ", ".join(f"{name}={n}" for name, n in schedule["keep"].items() if n) or "all",
    "mode": lambda schedule: schedule["mode"],
    "enabled": lambda schedule: schedule["enabled"],
    "next": lambda schedule: local_time(schedule["next_run_at"]) if schedule["next_run_at"] else None,
    "last": lambda schedule: local_time(schedule["last_run_at"]) if schedule["last_run_at"] else None,
}
OPTIONS = {
    "cron": "CRON",
    "timezone": "--timezone",
    "jitter_seconds": "--jitter",
    "mode": "--mode",
    "compress": "--compress",
    "storage": "--storage",
    "keep": "--keep",
    "enabled": "--enable",
}


@app.command("list")
def list_(server: Server, as_json: Json = False) -> None:
    """List the schedules of a server's backups."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.all(_path(api, server), "backup_schedules")
    print_rows("backup_schedules", found, COLUMNS, as_json=as_json)


@app.command()
def add(
    server: Server,
    cron: Annotated[str, typer.Argument(metavar="CRON", help=CRON_HELP)],
    timezone: TimeZone = None,
    keep: KeepOption = None,
    jitter: JitterOption = None,
    mode: Mode = None,
    compress: Compress = None,
    storage: Annotated[
        str | None, typer.Option(metavar="NAME", help="By default the node's storage for backups.")
    ] = None,
    check: Check = False,
    as_json: Json = False,
) -> None:
    """Have backups of a server made again and again."""
    from jotunheim.cli.client import Api

    body = _body(
        cron=cron, timezone=timezone, keep=keep, jitter=jitter, mode=mode, compress=compress, storage=storage
    )
    with Api.from_environment() as api:
        answer = api.post(_path(api, server), body, OPTIONS, query=_query(check=check))
    _show(answer, as_json=as_json)


@app.command()
def change(
    server: Server,
    schedule: Schedule,
    cron: Annotated[str | None, typer.Option(metavar="CRON", help=CRON_HELP)] = None,
    timezone: TimeZone = None,
    keep: KeepOption = None,
    jitter: JitterOption = None,
    mode: Mode = None,
    compress: Compress = None,
    storage: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where they are kept from now on.")
    ] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether backups are made by it.")
    ] = None,
    check: Check = False,
    as_json: Json = False,
) -> None:
    """Change a schedule; `--keep` sets all rules."""
    from jotunheim.cli.client import Api

    body = _body(
        cron=cron, timezone=timezone, keep=keep, jitter=jitter, mode=mode, compress=compress, storage=storage
    )
    body |= given({"enabled": enabled})
    with Api.from_environment() as api:
        path = f"{_path(api, server)}/{schedule}"
        answer = api.patch(path, body, OPTIONS | {"cron": "--cron"}, query=_query(check=check))
    _show(answer, as_json=as_json)


@app.command()
def remove(server: Server, schedule: Schedule, check: Check = False, as_json: Json = False) -> None:
    """Forget a schedule; its backups stay."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        answer = api.delete(f"{_path(api, server)}/{schedule}", query=_query(check=check))
    _show(answer, as_json=as_json)


def _path(api: Any, server: str) -> str:
    from jotunheim.cli.references import server_id

    return f"/servers/{server_id(api, server)}/backup-schedules"


def _body(*, keep: list[str] | None, jitter: str | None, **fields: Any) -> Document:
    return given(
        {
            **fields,
            "keep": None if keep is None else _rules(keep),
            "jitter_seconds": None if jitter is None else parse_duration(jitter),
        }
    )


def _rules(texts: list[str]) -> dict[str, int]:
    """`["daily=7", "weekly=4"]` as the API takes it."""
    rules: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name not in Keep.model_fields or not number.isdecimal():
            raise typer.BadParameter(
                f"{text!r} is none of {', '.join(f'{rule}=N' for rule in Keep.model_fields)}.",
                param_hint="--keep",
            )
        rules[name] = int(number)
    return rules


def _query(*, check: bool) -> dict[str, str]:
    return {"check": "true"} if check else {}


def _show(answer: Document, *, as_json: bool) -> None:
    print_record("backup_schedule", answer["backup_schedule"], COLUMNS, as_json=as_json)
