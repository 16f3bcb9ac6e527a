"""Options and values that several commands share, and how they are read."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jotunheim.cli.output import visible

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="FIELD", help="Field to sort by; a leading hyphen turns the order round."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0, help="Stop waiting after this time (exit status 124)."
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is done.")]
Check = Annotated[
    bool, typer.Option("--check", help="Only find out what would change; nothing changes anywhere.")
]
PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan", metavar="JOB", help="Apply exactly what this preview has shown, if it is still so; once."
    ),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
SshKeys = Annotated[
    list[str] | None,
    typer.Option("--ssh-key", metavar="KEY|@FILE", help="Public key, or a file of them; repeatable."),
]
KeyNames = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="NAME|FILE", help="Key that the owner keeps, or a file of public keys; repeatable."
    ),
]

NODE_TOKEN_SECRET = "JOTUNHEIM_NODE_TOKEN_SECRET"  # noqa: S105 - the name of a variable
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:iB)?)?", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DURATION = re.compile(r"([0-9]{1,12})\s*([smhdw])", re.IGNORECASE)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
UNLIMITED = "unlimited"


def parse_size(text: str) -> int:
    """Bytes of `2GiB`, `512M` or `1073741824`; the units are powers of 1024, as Proxmox VE counts."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; write for example 512MiB or 2GiB.")
    size = float(match[1]) * _UNIT_BYTES[(match[2] or "").upper()]
    if not size.is_integer():
        raise typer.BadParameter(f"{text!r} is not a whole number of bytes.")
    return int(size)


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `30m`, `2h`, `7d` or `2w`. A number alone says no unit and is refused."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write for example 90s, 30m, 2h, 7d or 2w.")
    return int(match[1]) * _UNIT_SECONDS[match[2].lower()]


def parse_limit(option: str, text: str, parse: Callable[[str], int] = int) -> int | None:
    """A limit; None for `unlimited`."""
    if text == UNLIMITED:
        return None
    try:
        return parse(text)
    except ValueError:
        problem = f"{text!r} is neither a whole number nor {UNLIMITED!r}."
    except typer.BadParameter as error:
        problem = f"{error.message} Or write {UNLIMITED}."
    raise typer.BadParameter(problem, param_hint=option)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given; the service knows the defaults."""
    return {name: value for name, value in values.items() if value is not None}


def either(values: list[str] | None, option: str, none: bool, none_option: str) -> list[str] | None:
    """The values of a repeatable option; empty when the option that says so is given, None without both."""
    if values and none:
        raise typer.BadParameter(f"contradicts {none_option}.", param_hint=option)
    return [] if none else values or None


def or_null(field: str, value: Any, option: str, none: bool, none_option: str) -> dict[str, Any]:
    """A field that can be set to nothing; empty when neither option was given."""
    if value is not None and none:
        raise typer.BadParameter(f"contradicts {none_option}.", param_hint=option)
    return {field: value} if value is not None or none else {}


def parse_pairs(option: str, texts: list[str]) -> dict[str, str]:
    """The pairs of a repeatable option such as `--label env=ci`."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not of the form KEY=VALUE.", param_hint=option)
        if key in pairs:
            raise typer.BadParameter(f"{key!r} is given twice.", param_hint=option)
        pairs[key] = value
    return pairs


def read_file(option: str, path: Path) -> str:
    """The text of a file that an option names."""
    try:
        return path.expanduser().read_text()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint=option) from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is not a text file.", param_hint=option) from None


def assert_new(option: str, path: Path) -> None:
    """Refuse to write where something is already."""
    if path.exists():
        raise typer.BadParameter(f"{path} exists.", param_hint=option)


def write_new_file(option: str, path: Path, content: bytes) -> None:
    """Write a file that an option names, unless there is one."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.", param_hint=option) from None


def parse_ssh_keys(values: list[str], option: str = "--ssh-key") -> list[str]:
    """Public keys, each given as text or as `@FILE` with a key on each line. Private ones go no further."""
    from jotunheim.data.fields import is_private_key

    keys: list[str] = []
    for value in values:
        text = read_file(option, Path(value[1:])) if value.startswith("@") else value
        if is_private_key(text):
            what = value[1:] if value.startswith("@") else "This"
            raise typer.BadParameter(
                f"{what} is a private key, and was not sent. Give the public one, FILE.pub.",
                param_hint=option,
            )
        if value.startswith("@"):
            lines = text.splitlines()
            keys += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        else:
            keys.append(value)
    return keys


def secret_from_stdin(option: str) -> str:
    """One secret from standard input: asked for without echo on a terminal, else the first line."""
    if sys.stdin.isatty():
        # getpass reads from the terminal itself and shows nothing.
        from getpass import getpass

        secret = getpass(f"{option.removeprefix('--').removesuffix('-stdin').replace('-', ' ')}: ")
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise typer.BadParameter("standard input is empty.", param_hint=option)
    return secret


def confirm(question: str, yes_option: str) -> bool:
    """Ask a person whether to go on.

    Raises:
        BadParameter: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter("is needed where there is no terminal to ask on.", param_hint=yes_option)
    sys.stderr.write(f"{visible(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def node_token_secret(*, from_stdin: bool) -> str:
    """The secret of a node's API token; never an option's value, since other users can read those."""
    if from_stdin:
        return secret_from_stdin("--token-secret-stdin")
    secret = os.environ.get(NODE_TOKEN_SECRET, "")
    if not secret:
        raise typer.BadParameter(
            f"give the token's secret on standard input, or in {NODE_TOKEN_SECRET}.",
            param_hint="--token-secret-stdin",
        )
    return secret
