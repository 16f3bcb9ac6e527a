"""`jotunheim server password|rebuild|power|suspend|unsuspend|protect|unprotect|delete`."""

from typing import TYPE_CHECKING, Annotated

import typer

from jotunheim.cli.asking import Manner, ask, conclude, takes_manner
from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import (
    Json,
    KeyNames,
    PasswordStdin,
    SshKeys,
    confirm,
    given,
    parse_duration,
    secret_from_stdin,
)
from jotunheim.cli.output import Document, print_lines, print_record
from jotunheim.data.server.status import PowerAction

if TYPE_CHECKING:
    from jotunheim.cli.client import Api

Server = Annotated[str, typer.Argument(metavar="ID|NAME")]


@takes_manner
def power(
    server: Server,
    action: Annotated[PowerAction, typer.Argument(help="What to do.")],
    guest_timeout: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="What the guest gets to shut down; 60.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Stop a guest that did not shut down in time.")
    ] = False,
    *,
    manner: Manner,
) -> None:
    """Start, shut down, stop, reboot or reset a server. What is already so is not done again."""
    body = given({"action": action.value, "timeout_seconds": guest_timeout, "force": force})
    options = {"action": "ACTION", "timeout_seconds": "--guest-timeout", "force": "--force"}
    ask(
        server,
        "power",
        f"Power of {{name}}: {action.value}",
        manner,
        body,
        options,
    )


@takes_manner
def password(
    server: Server,
    password_stdin: PasswordStdin = False,
    *,
    manner: Manner,
) -> None:
    """Give a server's account a new password. Without --password-stdin one is generated and shown once."""
    body = given({"password": secret_from_stdin("--password-stdin") if password_stdin else None})
    options = {"password": "--password-stdin"}
    ask(server, "password", "New password of {name}", manner, body, options, show=_show_password)


@takes_manner
def rebuild(
    server: Server,
    template: Annotated[
        str | None, typer.Option(metavar="ID|NAME", help="What to clone; by default the same again.")
    ] = None,
    ssh_key: SshKeys = None,
    key: KeyNames = None,
    password_stdin: PasswordStdin = False,
    destroy_snapshots: Annotated[
        bool, typer.Option("--destroy-snapshots", help="Give up its snapshots, which hold the old disk.")
    ] = False,
    *,
    manner: Manner,
) -> None:
    """Give a server a new system disk; what is on the old one is lost. Address, name and VMID stay."""
    from jotunheim.cli import keys, references
    from jotunheim.cli.client import Api

    secret = secret_from_stdin("--password-stdin") if password_stdin else None
    with Api.from_environment() as api:
        found = references.server(api, server)
        body = given(
            {
                "template_id": references.template_id(api, template, found["node"]["id"])
                if template
                else None,
                **keys.chosen(api, ssh_key, key, found.get("owner_id")),
                "password": secret,
                "destroy_snapshots": destroy_snapshots,
            }
        )
        options = {
            "template_id": "--template",
            "ssh_keys": "--ssh-key",
            "ssh_key_ids": "--key",
            "password": "--password-stdin",
            "destroy_snapshots": "--destroy-snapshots",
        }
        answer = api.post(f"/servers/{found['id']}/rebuild", body, options, query=manner.query)
        conclude(api, answer, f"Rebuilding {found['name']}", manner, show=_show_lists)


@takes_manner
def suspend(
    server: Server,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; its owner can read it.")],
    *,
    manner: Manner,
) -> None:
    """Stop a server, and refuse to start it until it is unsuspended."""
    ask(server, "suspend", "Suspending {name}", manner, {"reason": reason}, {"reason": "--reason"})


@takes_manner
def unsuspend(
    server: Server,
    *,
    manner: Manner,
) -> None:
    """Let a suspended server be what it was before."""
    ask(server, "unsuspend", "Unsuspending {name}", manner)


@takes_manner
def delete(
    server: Server,
    delay: Annotated[
        int | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Wait 90s, 30m, 2h or 7d first; cancellable till then.",
        ),
    ] = None,
    delete_backups: Annotated[bool, typer.Option("--delete-backups", help="Delete its backups too.")] = False,
    no_purge: Annotated[
        bool,
        typer.Option("--no-purge", help="Leave it in backup and replication jobs and high availability."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed without a terminal.")] = False,
    *,
    manner: Manner,
) -> None:
    """Delete a server, now or later."""
    from jotunheim.cli import references
    from jotunheim.cli.client import Api

    body = given(
        {
            "delay_seconds": delay,
            "backups": "delete" if delete_backups else None,
            "purge": False if no_purge else None,
        }
    )
    options = {"delay_seconds": "--delay", "backups": "--delete-backups", "purge": "--no-purge"}
    with Api.from_environment() as api:
        found = references.server(api, server)
        what = f"{found['name']} ({found['id']}, VM {found['vmid']} on {found['node']['name']})"
        if (
            not yes
            and not manner.check
            and not confirm(_question(api, found["id"], what, delete_backups=delete_backups), "--yes")
        ):
            raise CommandError("Nothing was deleted.", code="not_confirmed")
        answer = api.delete(f"/servers/{found['id']}", body, options, query=manner.query)
        conclude(api, answer, f"Deleting {found['name']}", manner, show=_show_lists)


def _question(api: "Api", id_: str, what: str, *, delete_backups: bool) -> str:
    """Whether a server shall go, and what becomes of its backups."""
    count = len(api.all(f"/servers/{id_}/backups", "backups"))
    if not count:
        return f"Delete {what}?"
    backups = "its backup" if count == 1 else f"its {count} backups"
    if delete_backups:
        return f"Delete {what} and {backups}?"
    return f"Delete {what}, and keep {backups}? (--delete-backups deletes them.)"


def protect(server: Server, as_json: Json = False) -> None:
    """Refuse to delete a server."""
    _protect(server, protected=True, as_json=as_json)


def unprotect(server: Server, as_json: Json = False) -> None:
    """Let a server be deleted again."""
    _protect(server, protected=False, as_json=as_json)


COMMANDS = (power, password, rebuild, suspend, unsuspend, protect, unprotect, delete)


def _protect(reference: str, *, protected: bool, as_json: bool) -> None:
    from jotunheim.cli import references, servers
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        path = f"/servers/{references.server_id(api, reference)}/protection"
        found = api.post(path, {"protected": protected})["server"]
    print_record("server", found, servers.RECORD, as_json=as_json)


def _show_password(answer: Document) -> None:
    result = answer["job"]["result"] or {}
    applied = "now" if result.get("applied") == "now" else "at the next boot"
    verb = "would apply" if answer["job"]["check"] else "applies"
    print_lines([f"The password of {result.get('account') or 'the account'} {verb} {applied}."])


def _show_lists(answer: Document) -> None:
    """What a result lists, e.g. the backups that were kept."""
    for name, items in (answer["job"]["result"] or {}).items():
        if isinstance(items, list) and items:
            print_lines([f"{name.replace('_', ' ').capitalize()}: {', '.join(items)}"])
