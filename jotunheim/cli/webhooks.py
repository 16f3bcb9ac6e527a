"""`jotunheim webhook …`: who is told what happens, and what became of that."""

from typing import Annotated, Any

import typer

from jotunheim.cli.audit import parse_moment
from jotunheim.cli.options import Json, Sort, given, parse_duration, secret_from_stdin
from jotunheim.cli.output import (
    Columns,
    Document,
    local_time,
    print_json,
    print_lines,
    print_record,
    print_rows,
)

app = typer.Typer(no_args_is_help=True, help="Webhooks: who is told what happens.")

Webhook = Annotated[int, typer.Argument(metavar="ID", help="Of the webhook.", min=1)]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="TYPE", help="What it is told, for example job.failed; repeatable."),
]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="For people.")]
SecretStdin = Annotated[
    bool,
    typer.Option(
        "--secret-stdin", help="Read the secret from standard input; else one is made and shown once."
    ),
]
OPTIONS = {
    "url": "URL",
    "events": "--event",
    "description": "--description",
    "owner_id": "--owner",
    "enabled": "--enable",
    "secret": "--secret-stdin",
    "overlap_seconds": "--overlap",
    "since": "--failed-since",
}
COLUMNS: Columns = {
    "id": lambda webhook: webhook["id"],
    "owner": lambda webhook: webhook["owner_id"],
    "url": lambda webhook: webhook["url"] or f"{webhook['target']}/…",
    "events": lambda webhook: webhook["events"],
    "enabled": lambda webhook: webhook["disabled_reason"] or webhook["enabled"],
    "failing since": lambda webhook: local_time(webhook["failing_since"]),
    "description": lambda webhook: webhook["description"],
}
DELIVERY: Columns = {
    "id": lambda delivery: delivery["id"],
    "at": lambda delivery: local_time(delivery["created_at"]),
    "event": lambda delivery: delivery["type"],
    "about": lambda delivery: f"{delivery['resource_type']} {delivery['resource_id']}",
    "status": lambda delivery: delivery["status"],
    "attempts": lambda delivery: delivery["attempts"],
    "last": lambda delivery: delivery["status_code"] or delivery["error"],
    "next attempt": lambda delivery: local_time(delivery["next_attempt_at"]),
}
ATTEMPT: Columns = {
    "at": lambda attempt: local_time(attempt["at"]),
    "ms": lambda attempt: attempt["duration_ms"],
    "answer": lambda attempt: attempt["status_code"],
    "error": lambda attempt: attempt["error"],
    "detail": lambda attempt: attempt["detail"],
}


@app.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://…, which gets a POST for each event.")],
    event: Events = None,
    description: Description = None,
    owner: Annotated[
        int | None,
        typer.Option(
            metavar="ID", help="Told of this user's servers, as owners are; by default of everything."
        ),
    ] = None,
    secret_stdin: SecretStdin = False,
    as_json: Json = False,
) -> None:
    """Tell a receiver what happens; by default everything."""
    from jotunheim.cli.client import Api

    fields = {"url": url, "events": event, "description": description, "owner_id": owner}
    with Api.from_environment() as api:
        answer = api.post("/webhooks", given({**fields, "secret": _secret(secret_stdin)}), OPTIONS)
    _show_with_secret(answer, as_json=as_json)


@app.command("list")
def list_(
    owner: Annotated[int | None, typer.Option(metavar="ID", help="Only this user's.")] = None,
    as_json: Json = False,
) -> None:
    """List the webhooks, those of owners too."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.all("/webhooks", "webhooks", owner_id=owner)
    print_rows("webhooks", found, COLUMNS, as_json=as_json)


@app.command()
def show(webhook: Webhook, as_json: Json = False) -> None:
    """Show a webhook; its URL needs the right to write webhooks."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        _show(api.get(f"/webhooks/{webhook}"), as_json=as_json)


@app.command()
def change(
    webhook: Webhook,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where it is from now on.")] = None,
    event: Events = None,
    description: Description = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Whether it is told anything; what waits is given up."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a webhook; `--event` sets all of them."""
    from jotunheim.cli.client import Api

    body = given({"url": url, "events": event, "description": description, "enabled": enabled})
    with Api.from_environment() as api:
        answer = api.patch(f"/webhooks/{webhook}", body, OPTIONS | {"url": "--url"})
    _show(answer, as_json=as_json)


@app.command()
def remove(webhook: Webhook, as_json: Json = False) -> None:
    """Forget a webhook, with the log of its deliveries."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        _show(api.delete(f"/webhooks/{webhook}"), as_json=as_json)


@app.command()
def rotate(
    webhook: Webhook,
    overlap: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long the old secret signs as well; by default 1d."),
    ] = None,
    secret_stdin: SecretStdin = False,
    as_json: Json = False,
) -> None:
    """Sign with another secret from now on, and for a while with the old one, too."""
    from jotunheim.cli.client import Api

    seconds = None if overlap is None else parse_duration(overlap)
    body = given({"overlap_seconds": seconds, "secret": _secret(secret_stdin)})
    with Api.from_environment() as api:
        answer = api.post(f"/webhooks/{webhook}/rotate-secret", body, OPTIONS)
    _show_with_secret(answer, as_json=as_json)


@app.command("test")
def try_out(webhook: Webhook, as_json: Json = False) -> None:
    """Send a webhook the event webhook.test."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        answer = api.post(f"/webhooks/{webhook}/test", {}, OPTIONS)
    _show_delivery(answer, as_json=as_json)


@app.command()
def deliveries(
    webhook: Webhook,
    status: Annotated[str | None, typer.Option(help="Only pending, succeeded or failed ones.")] = None,
    event: Annotated[str | None, typer.Option("--event", metavar="TYPE", help="Only such events.")] = None,
    since: Annotated[
        str | None, typer.Option(parser=parse_moment, metavar="TIME", help="A time, or so long ago: 12h.")
    ] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List what a webhook was told, the newest first."""
    from jotunheim.cli.client import Api

    query: dict[str, Any] = {"status": status, "type": event, "since": since, "sort": sort}
    with Api.from_environment() as api:
        found = api.all(f"/webhooks/{webhook}/deliveries", "deliveries", **query)
    print_rows("deliveries", found, DELIVERY, as_json=as_json)


@app.command()
def delivery(
    webhook: Webhook,
    delivery: Annotated[int, typer.Argument(metavar="DELIVERY", min=1)],
    as_json: Json = False,
) -> None:
    """Show what was sent, and each attempt."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.get(f"/webhooks/{webhook}/deliveries/{delivery}")["delivery"]
    print_record("delivery", found, DELIVERY, as_json=as_json)
    if not as_json:
        print_lines([""])
        print_rows("log", found["log"], ATTEMPT, as_json=False)
        print_lines(["", found["body"]])


@app.command()
def replay(
    webhook: Webhook,
    delivery: Annotated[
        int | None, typer.Argument(metavar="DELIVERY", help="One delivery, whatever became of it.", min=1)
    ] = None,
    failed_since: Annotated[
        str | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="All that failed since then, or so long ago: 12h."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Deliver something once more: one delivery, or all that failed."""
    from jotunheim.cli.client import Api

    if (delivery is None) == (failed_since is None):
        raise typer.BadParameter("give one delivery, or --failed-since.", param_hint="DELIVERY")
    with Api.from_environment() as api:
        if delivery is not None:
            answer = api.post(f"/webhooks/{webhook}/deliveries/{delivery}/replay", {}, OPTIONS)
            _show_delivery(answer, as_json=as_json)
            return
        answer = api.post(f"/webhooks/{webhook}/replay", {"since": failed_since}, OPTIONS)
    if as_json:
        print_json(answer)
    else:
        print_lines([f"{answer['replayed']} deliveries are attempted again."])


def _secret(from_stdin: bool) -> str | None:
    return secret_from_stdin("--secret-stdin") if from_stdin else None


def _show(answer: Document, *, as_json: bool) -> None:
    print_record("webhook", answer["webhook"], COLUMNS, as_json=as_json)


def _show_with_secret(answer: Document, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    _show(answer, as_json=False)
    print_lines(["", f"Secret, shown only now: {answer['secret']}"])


def _show_delivery(answer: Document, *, as_json: bool) -> None:
    print_record("delivery", answer["delivery"], DELIVERY, as_json=as_json)
