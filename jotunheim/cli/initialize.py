"""`jotunheim init`: from nothing to a service that can be started."""

from typing import Annotated

import typer

from jotunheim.cli.options import Json, secret_from_stdin
from jotunheim.cli.output import print_json, print_lines
from jotunheim.cli.store import drivers_of


def init(
    admin_email: Annotated[str, typer.Option(metavar="E-MAIL", help="Account of the first administrator.")],
    admin_password_stdin: Annotated[
        bool,
        typer.Option("--admin-password-stdin", help="Read the administrator's password from standard input."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Prepare a machine for the service.

    Makes state directory, secret key, database and the first administrator, and prints a token once.
    """
    from jotunheim import settings

    password = secret_from_stdin("--admin-password-stdin") if admin_password_stdin else None
    loaded = settings.load()
    with drivers_of(loaded):
        from jotunheim.bootstrap.store import initialize

    token = initialize(loaded, admin_email, password)
    if as_json:
        print_json({"admin_token": token})
        return
    print_lines(
        [
            f"Ready in {loaded.state_dir}. The administrator's token, shown only now:",
            "",
            f"  export JOTUNHEIM_TOKEN={token}",
            "",
            "Next: jotunheim up",
        ]
    )
