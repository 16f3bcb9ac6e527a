"""Options and values that several commands share, and how they are read."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0, help="Stop waiting after this time (exit status 124)."
    ),
]

NODE_TOKEN_SECRET = "JOTUNHEIM_NODE_TOKEN_SECRET"  # noqa: S105 - the name of a variable
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:iB)?)?", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """Bytes of `2GiB`, `512M` or `1073741824`; the units are powers of 1024, as Proxmox VE counts."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; write for example 512MiB or 2GiB.")
    size = float(match[1]) * _UNIT_BYTES[(match[2] or "").upper()]
    if not size.is_integer():
        raise typer.BadParameter(f"{text!r} is not a whole number of bytes.")
    return int(size)


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


def parse_ssh_keys(values: list[str]) -> list[str]:
    """Public keys, each given as text or as `@FILE` with a key on each line."""
    keys: list[str] = []
    for value in values:
        if value.startswith("@"):
            lines = read_file("--ssh-key", Path(value[1:])).splitlines()
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
