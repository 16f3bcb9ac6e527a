"""Firewall rules as they are typed and shown: `in accept tcp 80,443 from 10.0.0.0/8 # the office`."""

from collections.abc import Sequence

import typer

from jotunheim.cli.output import Columns, Document
from jotunheim.data.server.firewall_names import PROTOCOLS

ACTIONS = {"accept": "ACCEPT", "allow": "ACCEPT", "drop": "DROP", "deny": "DROP", "reject": "REJECT"}
FORM = "in|out accept|drop|reject [MACRO | PROTOCOL [PORTS]] [from ADDRESSES [port PORTS]] [to ADDRESSES] [off] [# COMMENT]"
COLUMNS: Columns = {
    "no.": lambda rule: rule["number"],
    "rule": lambda rule: rule["text"],
    "on": lambda rule: rule["enabled"],
    "comment": lambda rule: rule["comment"] or None,
}


def parse_rules(option: str, texts: Sequence[str]) -> list[Document]:
    """Rules of a repeatable option. Whether their values are good is for the service to say."""
    return [_parse(option, text) for text in texts]


def rule_text(rule: Document) -> str:
    """A rule as it is typed, without its comment."""
    words = [
        rule["direction"],
        rule["action"].lower(),
        rule["macro"],
        rule["protocol"],
        rule["destination_port"],
    ]
    source = rule["source"] or ("any" if rule["source_port"] else None)
    for word, value in (("from", source), ("port", rule["source_port"]), ("to", rule["destination"])):
        words += [word, value] if value else []
    return " ".join(word for word in words if word)


def numbered(rules: Sequence[Document]) -> list[Document]:
    """Rules for a table."""
    return [{**rule, "number": at + 1, "text": rule_text(rule)} for at, rule in enumerate(rules)]


def _parse(option: str, text: str) -> Document:
    said, _, comment = text.partition("#")
    words = said.split()
    rule: Document = {"comment": comment.strip()} if comment.strip() else {}
    if len(words) < 2 or words[0] not in ("in", "out") or words[1].lower() not in ACTIONS:
        raise _unlike(option, text)
    rule |= {"direction": words[0], "action": ACTIONS[words[1].lower()]}
    rest = words[2:]
    if rest and rest[-1] == "off":
        rest.pop()
        rule["enabled"] = False
    if rest and rest[0] not in ("from", "to"):
        name = rest.pop(0)
        rule["protocol" if name in PROTOCOLS else "macro"] = name
        if rest and rest[0] not in ("from", "to"):
            rule["destination_port"] = rest.pop(0)
    fields = {"from": "source", "to": "destination", "port": "source_port"}
    while rest:
        field = fields.pop(rest.pop(0), None)
        if field is None or not rest:
            raise _unlike(option, text)
        rule[field] = rest.pop(0)
    if rule.get("source") == "any":
        del rule["source"]
    return rule


def _unlike(option: str, text: str) -> typer.BadParameter:
    return typer.BadParameter(f"{text!r} is not of the form: {FORM}.", param_hint=option)
