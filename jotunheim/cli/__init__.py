"""The command line: `jotunheim COMMAND`. Contract and exit codes in docs/cli.md.

A module a noun (`nodes`, `servers`, …) holds the commands; this one assembles them and is the edge where
every error becomes an exit status, lines on standard error and, with `--json`, a document on standard
output. Commands import what is heavy when they run, so that `--help` stays quick.
"""

import os
import sys
from collections.abc import Sequence
from io import StringIO

import typer
from typer.exceptions import TyperException

from jotunheim.cli import (
    accounts,
    audit,
    backups,
    database,
    drift,
    firewall,
    imports,
    isos,
    jobs,
    keys,
    locations,
    node_requests,
    nodes,
    orphans,
    pools,
    rulesets,
    secrets,
    server_requests,
    servers,
    snapshots,
    template_groups,
    templates,
    usage,
    webhooks,
)
from jotunheim.cli.asking import typed
from jotunheim.cli.demo import demo
from jotunheim.cli.errors import CommandError, ExitCode, as_command_error, error_document, error_lines
from jotunheim.cli.initialize import init
from jotunheim.cli.output import print_json, print_lines
from jotunheim.cli.processes import serve, up, worker
from jotunheim.cli.sandbox import sandbox
from jotunheim.cli.server_changes import configure
from jotunheim.exceptions import JotunheimError

app = typer.Typer(
    name="jotunheim",
    help="Virtual machines on Proxmox VE, through Ansible.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (demo, init, up, serve, worker, sandbox):
    app.command()(command)
for server_command in (configure, *server_requests.COMMANDS):
    servers.app.command()(server_command)
for name, node_command in node_requests.COMMANDS.items():
    nodes.app.command(name)(node_command)
servers.app.command("import")(imports.import_)
servers.app.command()(usage.usage)
nodes.app.command()(imports.unmanaged)
for name, group in (
    ("db", database.app),
    ("secrets", secrets.app),
    ("user", accounts.users),
    ("token", accounts.tokens),
    ("key", keys.app),
    ("location", locations.app),
    ("node", nodes.app),
    ("template", templates.app),
    ("template-group", template_groups.app),
    ("pool", pools.app),
    ("server", servers.app),
    ("usage", usage.app),
    ("iso", isos.app),
    ("snapshot", snapshots.app),
    ("backup", backups.app),
    ("orphan", orphans.app),
    ("drift", drift.app),
    ("firewall", firewall.app),
    ("ruleset", rulesets.app),
    ("job", jobs.app),
    ("webhook", webhooks.app),
    ("audit", audit.app),
):
    app.add_typer(group, name=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `jotunheim` command; ends the process with the command's exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text streams of CPython have it
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit status."""
    typed.set(arguments)
    try:
        status: int = app(args=list(arguments), prog_name="jotunheim", standalone_mode=False) or 0
        if status != ExitCode.INTERRUPTED:
            return status
        failure = CommandError("Interrupted.", code="interrupted", exit_code=ExitCode.INTERRUPTED)
        lines = error_lines(failure)
    except TyperException as error:
        failure = CommandError(error.format_message(), code="usage", exit_code=ExitCode(error.exit_code))
        lines = _usage_lines(error)
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except JotunheimError as error:
        failure = as_command_error(error)
        lines = error_lines(failure)
    except Exception as error:
        if os.environ.get("JOTUNHEIM_LOG_LEVEL") == "DEBUG":
            raise
        failure = CommandError(
            f"{type(error).__name__}: {error}", code="internal", hint="JOTUNHEIM_LOG_LEVEL=DEBUG shows where."
        )
        lines = error_lines(failure)
    print_lines(lines, stderr=True)
    if "--json" in arguments:
        print_json(error_document(failure))
    return failure.exit_code


def _usage_lines(error: TyperException) -> list[str]:
    """What Typer says about bad usage: the usage line and the mistake, or the whole help."""
    text = StringIO()
    show = getattr(error, "show", None)
    if show is None:
        return [f"Error: {error.message}"]
    show(file=text)
    return text.getvalue().splitlines()
