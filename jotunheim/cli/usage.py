"""`jotunheim server usage` and `jotunheim usage …`: what servers move, and what follows from it."""

from typing import Annotated, Any

import typer

from jotunheim.cli.options import Check, Json, Sort, given, parse_size
from jotunheim.cli.output import Columns, Document, local_time, print_json, print_record, print_rows

app = typer.Typer(no_args_is_help=True, help="What servers have moved in a month.")

Server = Annotated[str, typer.Argument(metavar="ID|NAME")]
DEFAULT = "default"
_STEP = 1024


def amount(value: int | None) -> str | None:
    """A number of bytes to three digits: `1.46 TiB`."""
    if value is None:
        return None
    scaled, units = float(value), iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = next(units)
    while scaled >= _STEP:
        scaled, unit = scaled / _STEP, next(units)
    return f"{scaled:.3g} {unit}" if scaled < 1000 else f"{scaled:.0f} {unit}"


def _thresholds(usage: Document) -> list[str]:
    said = []
    for each in usage["thresholds"]:
        rate = f" to {amount(each['rate_bytes_per_second'])}/s" if each["rate_bytes_per_second"] else ""
        since = f", since {local_time(each['passed_at'])}" if each["passed_at"] else ""
        said.append(f"{each['percent']} %: {each['action']}{rate}{since}")
    return said


def _throttle(usage: Document) -> str | None:
    rate = usage["throttle_bytes_per_second"]
    return f"{amount(rate)}/s" if rate else None


USAGE: Columns = {
    "month": lambda usage: usage["period"],
    "until": lambda usage: local_time(usage["ends_at"]),
    "received": lambda usage: amount(usage["in_bytes"]),
    "sent": lambda usage: amount(usage["out_bytes"]),
    "credited": lambda usage: amount(usage["credit_bytes"]),
    "counted": lambda usage: amount(usage["counted_bytes"]),
    "limit": lambda usage: amount(usage["limit_bytes"]) or "none",
    "thresholds": _thresholds,
    "throttled to": _throttle,
    "suspended by quota": lambda usage: "yes" if usage["suspended"] else "no",
    "measured": lambda usage: local_time(usage["measured_at"]) if usage["measured_at"] else None,
}
POINTS: Columns = {
    "from": lambda point: local_time(point["at"]),
    "received": lambda point: amount(point["in_bytes"]),
    "sent": lambda point: amount(point["out_bytes"]),
}
PERIODS: Columns = {
    "server": lambda row: row["server_name"],
    "id": lambda row: row["server_id"],
    "owner": lambda row: row["owner_id"],
    "month": lambda row: row["period"],
    "received": lambda row: amount(row["in_bytes"]),
    "sent": lambda row: amount(row["out_bytes"]),
    "credited": lambda row: amount(row["credit_bytes"]),
}


def usage(
    server: Server,
    by_days: Annotated[bool, typer.Option("--by-days", help="And 400 days, day by day.")] = False,
    by_hours: Annotated[bool, typer.Option("--by-hours", help="And 31 days, hour by hour.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a server has moved in this month, and what follows from it."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    if by_days and by_hours:
        raise typer.BadParameter("Give --by-days or --by-hours, not both.")
    with Api.from_environment() as api:
        path = f"/servers/{server_id(api, server)}/usage"
        answer = api.get(path, resolution_seconds=86_400 if by_days else 3600)
    if as_json:
        print_json(answer)
    elif by_days or by_hours:
        print_rows("history", answer["history"], POINTS, as_json=False)
    else:
        print_record("usage", answer["usage"], USAGE, as_json=False)


@app.command("list")
def list_(
    period: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="By default this one.")
    ] = None,
    owner: Annotated[int | None, typer.Option(metavar="ID", help="Only this user's servers.")] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List what servers have moved in a month, those that are gone too."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.all("/usage", "usage", **given({"period": period, "owner_id": owner, "sort": sort}))
    print_rows("usage", found, PERIODS, as_json=as_json)


@app.command()
def credit(
    server: Server,
    size: Annotated[
        int | None,
        typer.Argument(parser=parse_size, metavar="[SIZE]", help="By default all that was counted so far."),
    ] = None,
    check: Check = False,
    as_json: Json = False,
) -> None:
    """Hold some of a server's traffic of this month not against its limit."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        path = f"/servers/{server_id(api, server)}/usage/credit"
        query = {"check": "true"} if check else None
        answer = api.post(path, {"bytes": size}, {"bytes": "SIZE"}, query=query)
    print_record("usage", answer["usage"], USAGE, as_json=as_json)


def parse_policy(text: str) -> list[dict[str, Any]] | None:
    """Thresholds as the setting `TRAFFIC_POLICY` has them: `80=notify,100=throttle:1MiB`; None for `default`."""
    if text == DEFAULT:
        return None
    found = []
    for part in filter(None, text.replace(" ", "").split(",")):
        percent, _, rest = part.partition("=")
        action, _, rate = rest.partition(":")
        if not percent.isdecimal() or not action:
            raise typer.BadParameter(
                f"{part!r} is no threshold; write for example 80=notify,100=throttle:1MiB,120=suspend."
            )
        threshold: dict[str, Any] = {"percent": int(percent), "action": action}
        found.append(threshold | ({"rate_bytes_per_second": parse_size(rate)} if rate else {}))
    return found
