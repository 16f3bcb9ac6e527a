"""`jotunheim firewall …`: what may reach a server, and what it may send."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from jotunheim.cli.asking import Manner, conclude, takes_manner
from jotunheim.cli.firewall_rules import COLUMNS, numbered, parse_rules
from jotunheim.cli.options import Json, either, given
from jotunheim.cli.output import Document, print_json, print_lines, print_rows

app = typer.Typer(no_args_is_help=True, help="Firewalls of servers: what may reach them, what they may send.")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Id or name of the server.")]
Ports = Annotated[
    str | None, typer.Argument(metavar="[PORTS]", help="For example 22 or 80,443,1000:2000; by default all.")
]
Protocol = Annotated[str | None, typer.Option(help="For example udp; with ports by default tcp.")]
Macro = Annotated[str | None, typer.Option(help="A macro of Proxmox VE, such as SSH or HTTPS.")]
Source = Annotated[
    str | None, typer.Option("--from", metavar="ADDRESSES", help="Addresses and networks, or a range A-B.")
]
Destination = Annotated[str | None, typer.Option("--to", metavar="ADDRESSES", help="Likewise.")]
Out = Annotated[bool, typer.Option("--out", help="What the server sends, not what reaches it.")]
Comment = Annotated[str | None, typer.Option(metavar="TEXT")]


class Policy(StrEnum):
    """What becomes of what no rule matches."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


_OPTIONS = {
    "enabled": "--enable",
    "policy_in": "--policy-in",
    "policy_out": "--policy-out",
    "rules": "--rule",
    "rulesets": "--ruleset",
}


@app.command()
def show(server: Server, as_json: Json = False) -> None:
    """Show a server's firewall, as it is wanted; its rules have the numbers that `remove` takes."""
    from jotunheim.cli import tables
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        found = api.get(f"/servers/{server_id(api, server)}/firewall")
        names = _ruleset_names(api, found["firewall"]["rulesets"])
    if as_json:
        print_json(found)
        return
    firewall = found["firewall"]
    record = {
        "on": firewall["enabled"],
        "policy in": firewall["policy_in"].lower(),
        "policy out": firewall["policy_out"].lower(),
        "rulesets": [names[id_] for id_ in firewall["rulesets"]],
        "outdated": [names[id_] for id_ in found["outdated_rulesets"]],
        "anti-spoofing": found["anti_spoofing"],
    }
    tables.print_table(tables.record_table(record))
    if not found["recorded"]:
        print_lines(["Nobody has set its rules here yet; those that it has on the node stay."])
    print_lines([""])
    print_rows("rules", numbered(firewall["rules"]), COLUMNS, as_json=False)


@app.command("set")
@takes_manner
def set_(
    server: Server,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether rules and policies count.")
    ] = None,
    policy_in: Annotated[
        Policy | None, typer.Option(help="What becomes of what reaches it and no rule matches.")
    ] = None,
    policy_out: Annotated[
        Policy | None, typer.Option(help="What becomes of what it sends and no rule matches.")
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="All rules; others go. Repeatable.")
    ] = None,
    no_rules: Annotated[bool, typer.Option("--no-rules", help="No rules any more.")] = False,
    ruleset: Annotated[
        list[str] | None, typer.Option(metavar="ID|NAME", help="All rulesets; others go. Repeatable.")
    ] = None,
    no_rulesets: Annotated[bool, typer.Option("--no-rulesets", help="No rulesets any more.")] = False,
    *,
    manner: Manner,
) -> None:
    """Set a server's firewall; what is not named stays. Without any option, all that is recorded is asserted."""
    from jotunheim.cli.references import ruleset_id

    rules = either(rule, "--rule", no_rules, "--no-rules")
    rulesets = either(ruleset, "--ruleset", no_rulesets, "--no-rulesets")

    def change(api: Any, firewall: Document) -> Document:
        return firewall | given(
            {
                "enabled": enable,
                "policy_in": policy_in.value.upper() if policy_in else None,
                "policy_out": policy_out.value.upper() if policy_out else None,
                "rules": None if rules is None else parse_rules("--rule", rules),
                "rulesets": None if rulesets is None else [ruleset_id(api, name) for name in rulesets],
            }
        )

    _ask(server, change, _OPTIONS, manner)


@app.command()
@takes_manner
def allow(
    server: Server,
    ports: Ports = None,
    protocol: Protocol = None,
    macro: Macro = None,
    source: Source = None,
    destination: Destination = None,
    out: Out = False,
    comment: Comment = None,
    first: Annotated[bool, typer.Option("--first", help="Before all other rules.")] = False,
    *,
    manner: Manner,
) -> None:
    """Let something pass: adds a rule after the others."""
    rule = _rule("ACCEPT", ports, protocol, macro, source, destination, out=out, comment=comment)
    _add(server, rule, manner, first=first)


@app.command()
@takes_manner
def deny(
    server: Server,
    ports: Ports = None,
    protocol: Protocol = None,
    macro: Macro = None,
    source: Source = None,
    destination: Destination = None,
    out: Out = False,
    comment: Comment = None,
    reject: Annotated[
        bool, typer.Option("--reject", help="Tell the sender, instead of dropping it silently.")
    ] = False,
    last: Annotated[bool, typer.Option("--last", help="After all other rules.")] = False,
    *,
    manner: Manner,
) -> None:
    """Let something not pass: adds a rule before the others."""
    action = "REJECT" if reject else "DROP"
    rule = _rule(action, ports, protocol, macro, source, destination, out=out, comment=comment)
    _add(server, rule, manner, first=not last)


@app.command()
@takes_manner
def remove(
    server: Server,
    numbers: Annotated[
        list[int], typer.Argument(metavar="NUMBER…", help="Of the rules, as `show` has them.")
    ],
    *,
    manner: Manner,
) -> None:
    """Remove rules."""

    def change(_: Any, firewall: Document) -> Document:
        unknown = [number for number in numbers if not 1 <= number <= len(firewall["rules"])]
        if unknown:
            raise typer.BadParameter(f"there is no rule {unknown[0]}.", param_hint="NUMBER")
        kept = [rule for at, rule in enumerate(firewall["rules"]) if at + 1 not in numbers]
        return firewall | {"rules": kept}

    _ask(server, change, {}, manner)


def _rule(
    action: str,
    ports: str | None,
    protocol: str | None,
    macro: str | None,
    source: str | None,
    destination: str | None,
    *,
    out: bool,
    comment: str | None,
) -> Document:
    rule = {
        "direction": "out" if out else "in",
        "action": action,
        "macro": macro,
        "protocol": protocol or ("tcp" if ports and not macro else None),
        "source": source,
        "destination": destination,
        "destination_port": ports,
        "comment": comment,
    }
    return given(rule)


def _add(server: str, rule: Document, manner: Manner, *, first: bool) -> None:
    """Add a rule to those that a server has."""
    names = {
        "macro": "--macro",
        "protocol": "--protocol",
        "source": "--from",
        "destination": "--to",
        "destination_port": "PORTS",
        "comment": "--comment",
    }
    options: dict[str, str] = {}

    def change(_: Any, firewall: Document) -> Document:
        rules = [rule, *firewall["rules"]] if first else [*firewall["rules"], rule]
        position = 0 if first else len(rules) - 1
        options.update({f"rules.{position}.{field}": option for field, option in names.items()})
        return firewall | {"rules": rules}

    _ask(server, change, options, manner)


def _ask(
    reference: str, change: Callable[[Any, Document], Document], options: dict[str, str], manner: Manner
) -> None:
    """Change a server's firewall, as long as it is what was read."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        path = f"/servers/{server_id(api, reference)}/firewall"
        found, version = api.versioned(path)
        wanted = change(api, found["firewall"])
        answer = api.put(path, wanted, options, query=manner.query, version=version)
        name = answer["server"]["name"]
        conclude(api, answer, f"Setting the firewall of {name}", manner, show=_show(name, wanted))


def _show(name: str, wanted: Document) -> Callable[[Document], None]:
    def show(answer: Document) -> None:
        result = answer["job"]["result"] or {}
        lines = [f"Rules in force: {result.get('rules', 0)}."]
        if not wanted["enabled"]:
            lines = [f"The firewall is off: jotunheim firewall set {name} --enable"]
        print_lines(["", *lines])

    return show


def _ruleset_names(api: Any, ids: list[int]) -> dict[int, str]:
    if not ids:
        return {}
    listed = api.all("/firewall-rulesets", "firewall_rulesets")
    return {entry["id"]: entry["name"] for entry in listed if entry["id"] in ids}
