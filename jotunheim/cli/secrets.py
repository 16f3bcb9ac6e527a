"""`jotunheim secrets …`: the keys that secrets are encrypted with."""

import typer

from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json
from jotunheim.cli.output import print_json, print_lines
from jotunheim.cli.store import drivers_of, require_schema

app = typer.Typer(no_args_is_help=True, help="Secrets at rest: the keys that encrypt them.")

SHOWN = 5


@app.callback()
def _group() -> None:
    """A group, also while it has one command."""


@app.command()
def rotate(as_json: Json = False) -> None:
    """Encrypt all secrets with the first key of the key file, so that the other keys can be removed.

    Service and workers may run, if they were started with all of these keys. It can be interrupted and begun again.
    """
    from jotunheim import settings

    loaded = settings.load()
    with drivers_of(loaded):
        from jotunheim.bootstrap.store import use_store
        from jotunheim.repositories.peewee import database, rotation
        from jotunheim.services.audit import records

    keyring = use_store(loaded)
    require_schema()
    with database.usable():
        done = rotation.rotate(keyring)
        with records.command("secrets.rotate") as recorded:  # after it: it is many transactions
            recorded.after = {"rotated": done.rotated, "left": len(done.left)}
    if done.left:
        named = [f"{name}: {reason}" for name, reason in sorted(done.left.items())]
        more = [f"… and {len(named) - SHOWN} more"] if len(named) > SHOWN else []
        if not as_json:
            print_lines([*named[:SHOWN], *more])
        raise CommandError(
            f"{done.rotated} secret(s) were encrypted anew; {len(named)} cannot be decrypted. Keep the old keys.",
            code="secrets_left",
            hint="Put their key back below the first one, or set them again (answers under an Idempotency-Key go within a day).",
            document={"rotated": done.rotated, "left": sorted(done.left)},
        )
    if as_json:
        print_json({"rotated": done.rotated, "left": []})
        return
    print_lines(
        [
            f"{done.rotated} secret(s) were encrypted anew with the first key; none is left under another one.",
            "Once service and workers run with it as their first key, the other keys can be removed.",
        ]
    )
