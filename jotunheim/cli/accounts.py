"""`jotunheim user …` and `jotunheim token …`: accounts, in the database of the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from jotunheim.cli.errors import as_command_error
from jotunheim.cli.options import Json, PasswordStdin, parse_duration, secret_from_stdin
from jotunheim.cli.output import Columns, local_time, print_json, print_lines, print_record, print_rows
from jotunheim.cli.store import connect, require_schema
from jotunheim.exceptions import JotunheimError

users = typer.Typer(no_args_is_help=True, help="Users: who may ask for things.")
tokens = typer.Typer(no_args_is_help=True, help="Tokens: what programs and people authenticate with.")

_OPTIONS = {
    "email": "--email",
    "name": "--name",
    "role": "--role",
    "user": "--user",
    "scopes": "--scope",
    "expires_in_seconds": "--expires-in",
    "networks": "--network",
    "password": "--password-stdin",
}
_USER: Columns = {
    "id": lambda user: user["id"],
    "email": lambda user: user["email"],
    "name": lambda user: user["name"],
    "role": lambda user: user["role"],
    "created": lambda user: local_time(user["created_at"]),
    "disabled": lambda user: local_time(user["disabled_at"]),
}
_TOKEN: Columns = {
    "id": lambda token: token["id"],
    "user": lambda token: token["email"],
    "name": lambda token: token["name"],
    "scopes": lambda token: token["scopes"],
    "networks": lambda token: token["networks"] or [],
    "expires": lambda token: local_time(token["expires_at"]),
    "last used": lambda token: local_time(token["last_used_at"]),
    "revoked": lambda token: local_time(token["revoked_at"]),
}


@users.command("create")
def create_user(
    email: Annotated[str, typer.Option(metavar="E-MAIL")],
    name: Annotated[str, typer.Option(help="For people.")],
    role: Annotated[
        str, typer.Option(help="admin: everything; client: only their own servers; or a role of your own.")
    ],
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Add a user. Without a password, only tokens let them in."""
    password = secret_from_stdin("--password-stdin") if password_stdin else None
    with _accounts():
        from jotunheim.services.accounts import local
        from jotunheim.services.accounts import users as accounts
        from jotunheim.services.audit import records

        with records.command("user.create", "user") as done:
            made = accounts.view(local.create_user(email, name, role, password))
            done.resource_id, done.after = made.id, {"user": made.model_dump(mode="json")}
    print_record("user", made.model_dump(mode="json"), _USER, as_json=as_json)


@users.command("list")
def list_users(as_json: Json = False) -> None:
    """List the users."""
    with _accounts():
        from jotunheim.services.accounts import users as accounts

        found = [user.model_dump(mode="json") for user in accounts.all_users()]
    print_rows("users", found, _USER, as_json=as_json)


@users.command()
def disable(email: Annotated[str, typer.Argument(metavar="E-MAIL")], as_json: Json = False) -> None:
    """Disable a user: their tokens are invalid at once. Their servers stay."""
    with _accounts():
        from jotunheim.services.accounts import local
        from jotunheim.services.accounts import users as accounts
        from jotunheim.services.audit import records

        with records.command("user.disable", "user") as done:
            before = accounts.view(accounts.find_by_email(email))
            disabled = local.disable_user(email)
            done.compare(disabled.id, "user", before, disabled)
    print_record("user", disabled.model_dump(mode="json"), _USER, as_json=as_json)


@tokens.command("create")
def create_token(
    user: Annotated[str, typer.Option(metavar="E-MAIL", help="Whose it is.")],
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="A resource and a verb, for example servers:read, or * for all; repeatable.",
        ),
    ],
    expires_in: Annotated[
        int | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help="For example 12h, 30d or 8w; else never."
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(help="Where it may be used from, for example 192.0.2.0/24; repeatable. Else anywhere."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown once."""
    with _accounts():
        from jotunheim.services.accounts import local
        from jotunheim.services.audit import records

        with records.command("token.create", "token") as done:
            made, secret = local.create_token(user, name, scope, expires_in, network)
            done.resource_id, done.after = made.id, {"token": made.model_dump(mode="json")}
    document = made.model_dump(mode="json")
    if as_json:
        print_json({"token": document, "secret": secret})
        return
    print_record("token", document, _TOKEN, as_json=False)
    print_lines(["", "Shown only now:", "", f"  export JOTUNHEIM_TOKEN={secret}"])


@tokens.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Option(metavar="E-MAIL", help="Only this user's.")] = None,
    as_json: Json = False,
) -> None:
    """List the tokens."""
    with _accounts():
        from jotunheim.services.accounts import tokens as issued
        from jotunheim.services.accounts import users as accounts

        whose = None if user is None else accounts.find_by_email(user)
        found = [token.model_dump(mode="json") for token in issued.all_tokens(whose)]
    print_rows("tokens", found, _TOKEN, as_json=as_json)


@tokens.command()
def revoke(token: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Revoke a token: it is invalid at once."""
    with _accounts():
        from jotunheim.services.accounts import local
        from jotunheim.services.accounts import tokens as issued
        from jotunheim.services.audit import records

        with records.command("token.revoke", "token") as done:
            before = issued.view(issued.find(token))
            revoked = local.revoke_token(token)
            done.compare(revoked.id, "token", before, revoked)
    print_record("token", revoked.model_dump(mode="json"), _TOKEN, as_json=as_json)


@contextmanager
def _accounts() -> Iterator[None]:
    """The database, with this version's schema; bad fields are named by their options."""
    connect()
    require_schema()
    try:
        yield
    except JotunheimError as error:
        raise as_command_error(error, _OPTIONS) from None
