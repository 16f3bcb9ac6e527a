"""`jotunheim key …`: public SSH keys that users keep, so that servers get them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json, given, parse_ssh_keys
from jotunheim.cli.output import Columns, Document, local_time, print_record, print_rows

if TYPE_CHECKING:
    from jotunheim.cli.client import Api

app = typer.Typer(no_args_is_help=True, help="SSH keys that users keep, so that their servers get them.")

User = Annotated[int | None, typer.Option("--user", metavar="ID", help="Whose it is; by default yours.")]
Key = Annotated[str, typer.Argument(metavar="ID|NAME")]
COLUMNS: Columns = {
    "id": lambda key: key["id"],
    "user": lambda key: key["user_id"],
    "name": lambda key: key["name"],
    "fingerprint": lambda key: key["fingerprint"],
    "created": lambda key: local_time(key["created_at"]),
}
_OPTIONS = {"name": "NAME", "public_key": "KEY", "user_id": "--user"}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    key: Annotated[str, typer.Argument(metavar="KEY|FILE", help="The public key, or the file it is in.")],
    user: User = None,
    as_json: Json = False,
) -> None:
    """Keep a public key; servers that are made for its user from now on get it."""
    from jotunheim.cli.client import Api

    lines = parse_ssh_keys([key if " " in key.strip() else f"@{key.removeprefix('@')}"], "KEY")
    if len(lines) != 1:
        raise typer.BadParameter(f"{key} holds {len(lines)} keys; give one.", param_hint="KEY")
    with Api.from_environment() as api:
        answer = api.post(
            "/ssh-keys", given({"name": name, "public_key": lines[0], "user_id": user}), _OPTIONS
        )
    print_record("ssh_key", answer["ssh_key"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(
    user: User = None,
    all_users: Annotated[bool, typer.Option("--all", help="Those of all users.")] = False,
    as_json: Json = False,
) -> None:
    """List your keys, or somebody else's."""
    from jotunheim.cli.client import Api

    if user is not None and all_users:
        raise typer.BadParameter("contradicts --user.", param_hint="--all")
    with Api.from_environment() as api:
        query = {} if all_users else _whose(user)
        print_rows("ssh_keys", api.all("/ssh-keys", "ssh_keys", **query), COLUMNS, as_json=as_json)


@app.command()
def change(
    key: Key,
    name: Annotated[str, typer.Option(help="What to call it.")],
    user: User = None,
    as_json: Json = False,
) -> None:
    """Give a key another name."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        answer = api.patch(f"/ssh-keys/{_id(api, key, user)}", {"name": name}, {"name": "--name"})
    print_record("ssh_key", answer["ssh_key"], COLUMNS, as_json=as_json)


@app.command()
def delete(key: Key, user: User = None, as_json: Json = False) -> None:
    """Forget a key; servers that have it keep it."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        answer = api.delete(f"/ssh-keys/{_id(api, key, user)}")
    print_record("ssh_key", answer["ssh_key"], COLUMNS, as_json=as_json)


def chosen(
    api: "Api", lines: Sequence[str] | None, names: Sequence[str] | None, owner_id: int | None
) -> dict[str, Any]:
    """The fields of a request that say which keys a server gets; without any, when nothing was given.

    Args:
        lines: what `--ssh-key` gave.
        names: what `--key` gave: names of keys that the server's owner keeps, or files.
        owner_id: None: whoever asks.
    """
    ids: list[int] = []
    keys = parse_ssh_keys(list(lines or ()))
    for name in names or ():
        found = api.all("/ssh-keys", "ssh_keys", name=name, **_whose(owner_id))
        if found:
            ids.append(found[0]["id"])
        elif Path(name).expanduser().is_file():
            keys += parse_ssh_keys([f"@{name}"], "--key")
        else:
            raise CommandError(
                f"There is neither a key nor a file {name}.",
                code="not_found",
                hint="jotunheim key list shows the keys.",
            )
    return {"ssh_keys": keys or None, "ssh_key_ids": ids or None}


def _whose(user_id: int | None) -> dict[str, str | int]:
    return {"mine": "true"} if user_id is None else {"user_id": user_id}


def _id(api: "Api", reference: str, user_id: int | None) -> int:
    """Id of a key, by id, or by its name among its user's."""
    if reference.isdecimal():
        return int(reference)
    found: list[Document] = api.all("/ssh-keys", "ssh_keys", name=reference, **_whose(user_id))
    if not found:
        raise CommandError(
            f"There is no key {reference}.", code="not_found", hint="jotunheim key list shows the keys."
        )
    chosen_id: int = found[0]["id"]
    return chosen_id
