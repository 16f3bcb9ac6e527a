"""`jotunheim ruleset …`: named lists of firewall rules that servers apply."""

from typing import Annotated

import typer

from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.firewall_rules import COLUMNS as RULE_COLUMNS
from jotunheim.cli.firewall_rules import numbered, parse_rules
from jotunheim.cli.options import Check, Json, Timeout, Wait, either, given
from jotunheim.cli.output import Columns, Document, print_json, print_lines, print_record, print_rows

app = typer.Typer(no_args_is_help=True, help="Firewall rulesets: named lists of rules that servers apply.")

Ruleset = Annotated[str, typer.Argument(metavar="ID|NAME")]
Rules = Annotated[list[str] | None, typer.Option("--rule", metavar="RULE", help="A rule; repeatable.")]
COLUMNS: Columns = {
    "id": lambda ruleset: ruleset["id"],
    "name": lambda ruleset: ruleset["name"],
    "description": lambda ruleset: ruleset["description"] or None,
    "rules": lambda ruleset: len(ruleset["rules"]),
    "servers": lambda ruleset: ruleset["servers"],
    "outdated": lambda ruleset: ruleset["outdated_servers"],
}
_OPTIONS = {"name": "NAME", "description": "--description", "rules": "--rule"}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    rule: Rules = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
    as_json: Json = False,
) -> None:
    """Add a ruleset."""
    from jotunheim.cli.client import Api

    body = given({"name": name, "description": description, "rules": parse_rules("--rule", rule or [])})
    with Api.from_environment() as api:
        answer = api.post("/firewall-rulesets", body, _OPTIONS)
    _print(answer["firewall_ruleset"], as_json=as_json)


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Only the one with this name.")] = None,
    as_json: Json = False,
) -> None:
    """List the rulesets, with how many servers apply them, and how many of those do not have their present rules."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        found = api.all("/firewall-rulesets", "firewall_rulesets", name=name)
    print_rows("firewall_rulesets", found, COLUMNS, as_json=as_json)


@app.command()
def show(ruleset: Ruleset, as_json: Json = False) -> None:
    """Show a ruleset with its rules."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import ruleset_id

    with Api.from_environment() as api:
        found = api.get(f"/firewall-rulesets/{ruleset_id(api, ruleset)}")["firewall_ruleset"]
    _print(found, as_json=as_json)


@app.command()
def change(
    ruleset: Ruleset,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="All rules; others go. Repeatable.")
    ] = None,
    no_rules: Annotated[bool, typer.Option("--no-rules", help="No rules any more.")] = False,
    as_json: Json = False,
) -> None:
    """Change a ruleset. Servers that apply it get it with `ruleset apply`, or when they are configured next."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import ruleset_id

    rules = either(rule, "--rule", no_rules, "--no-rules")
    body = given(
        {
            "name": name,
            "description": description,
            "rules": None if rules is None else parse_rules("--rule", rules),
        }
    )
    with Api.from_environment() as api:
        path = f"/firewall-rulesets/{ruleset_id(api, ruleset)}"
        answer = api.patch(path, body, {**_OPTIONS, "name": "--name"})
    if as_json:
        print_json(answer)
        return
    changed = answer["firewall_ruleset"]
    _print(changed, as_json=False)
    if changed["outdated_servers"]:
        names = ", ".join(server["name"] for server in answer["outdated_servers"])
        print_lines(
            [
                "",
                f"Servers without its present rules: {names}.",
                f"Bring them: jotunheim ruleset apply {changed['id']}",
            ]
        )


@app.command()
def delete(ruleset: Ruleset, as_json: Json = False) -> None:
    """Delete a ruleset that no server applies."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import ruleset_id

    with Api.from_environment() as api:
        answer = api.delete(f"/firewall-rulesets/{ruleset_id(api, ruleset)}")
    _print(answer["firewall_ruleset"], as_json=as_json)


@app.command()
def apply(
    ruleset: Ruleset,
    everywhere: Annotated[
        bool, typer.Option("--all", help="Also to servers that should have them already.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    check: Check = False,
    as_json: Json = False,
) -> None:
    """Bring a ruleset's present rules to the servers that apply it, by a job each."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import ruleset_id

    if timeout is not None and not wait:
        raise typer.BadParameter("needs --wait.", param_hint="--timeout")
    with Api.from_environment() as api:
        path = f"/firewall-rulesets/{ruleset_id(api, ruleset)}/apply"
        asked = {"only_outdated": not everywhere}
        query = {"check": "true"} if check else {}
        answer = api.post(path, asked, query=query)
        while answer["next_after"]:
            more = api.post(path, {**asked, "after": answer["next_after"]}, query=query)
            for name in ("jobs", "left_out"):
                more[name] = [*answer[name], *more[name]]
            answer = more
        if not as_json:
            print_lines(_told(answer, check=check))
        failed = _followed(api, answer, timeout, as_json=as_json) if wait else []
    if failed:
        raise CommandError(
            f"{len(failed)} of {len(answer['jobs'])} jobs failed.",
            hint=f"jotunheim job show {failed[0]}",
            document=answer,
        )
    if as_json:
        print_json(answer)


def _followed(api: object, answer: Document, timeout: float | None, *, as_json: bool) -> list[str]:
    """Wait for the jobs; puts them as they ended into the answer. Returns the ids of those that failed."""
    from jotunheim.cli.board import JobBoard, Silence
    from jotunheim.cli.checklist import Checklist
    from jotunheim.cli.client import Api
    from jotunheim.cli.waiting import failure_of, wait_for

    assert isinstance(api, Api)
    titles = {job["id"]: f"Server {_server_of(job)}" for job in answer["jobs"]}
    if not titles:
        return []
    try:
        if as_json:
            ended = wait_for(api, list(titles), timeout, Silence())
        else:
            with Checklist() as checklist:
                ended = wait_for(api, list(titles), timeout, JobBoard(api, checklist, titles))
    except CommandError as error:
        error.document = answer
        raise
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted; the jobs go on.",
            code="interrupted",
            exit_code=ExitCode.INTERRUPTED,
            document=answer,
        ) from None
    answer["jobs"] = [ended[id_] for id_ in titles]
    return [id_ for id_ in titles if failure_of(ended[id_])]


def _told(answer: Document, *, check: bool) -> list[str]:
    done = "previews" if check else "jobs"
    lines = [f"{len(answer['jobs'])} {done}: {', '.join(job['id'] for job in answer['jobs']) or 'none'}."]
    lines += [f"  {left['name']} was left out: {left['message']}" for left in answer["left_out"]]
    return lines


def _server_of(job: Document) -> str:
    return next((str(found["id"]) for found in job["resources"] if found["type"] == "server"), "")


def _print(ruleset: Document, *, as_json: bool) -> None:
    print_record("firewall_ruleset", ruleset, COLUMNS, as_json=as_json)
    if not as_json and ruleset["rules"]:
        print_lines([""])
        print_rows("rules", numbered(ruleset["rules"]), RULE_COLUMNS, as_json=False)
