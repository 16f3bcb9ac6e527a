"""`jotunheim db …`: the schema, and a copy of the embedded database."""

from pathlib import Path
from typing import Annotated

import typer

from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json
from jotunheim.cli.output import print_json, print_lines
from jotunheim.cli.store import connect

app = typer.Typer(no_args_is_help=True, help="Database: its schema, and a copy of it.")


@app.command()
def migrate(as_json: Json = False) -> None:
    """Bring the database to the schema of this version."""
    connect()
    from jotunheim.repositories.peewee import database

    applied = database.migrate()
    if as_json:
        print_json({"applied": applied})
    else:
        print_lines([f"Applied {name}." for name in applied] or ["Nothing to do."])


@app.command()
def check(as_json: Json = False) -> None:
    """Look for damage and for pending migrations."""
    connect()
    from jotunheim.repositories.peewee import database

    problems = database.check()
    if problems:
        if not as_json:
            print_lines(problems)
        raise CommandError(
            f"The database has {len(problems)} problem(s).",
            code="database_problems",
            hint="`jotunheim db migrate` for migrations; a backup for damage.",
            document={"ok": False, "problems": problems},
        )
    if as_json:
        print_json({"ok": True, "problems": []})
    else:
        print_lines(["The database is sound and has the schema of this version."])


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")], as_json: Json = False
) -> None:
    """Copy the embedded database (SQLite) while it is in use. The secret key is not in it."""
    connect()
    from jotunheim.repositories.peewee import database

    target = file.expanduser().absolute()
    database.backup(target)
    if as_json:
        print_json({"file": str(target), "size_bytes": target.stat().st_size})
    else:
        print_lines([f"Copied to {target}. Keep a copy of the secret key elsewhere."])
