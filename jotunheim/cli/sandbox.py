"""`jotunheim sandbox`: the Proxmox VE stand-in, as a process of its own."""

from pathlib import Path
from typing import Annotated

import typer

BAD_USAGE = 2


def sandbox(
    command: Annotated[
        list[str] | None, typer.Argument(help="Run this command while the sandbox is up; put -- before it.")
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the PVE API (TLS).")] = (
        "127.0.0.1:0"
    ),
    control: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the control endpoint.")] = (
        "127.0.0.1:0"
    ),
    time_scale: Annotated[
        float, typer.Option(help="1: operations take as long as on PVE; 0: no time.")
    ] = 1.0,
    nodes: Annotated[int, typer.Option(help="Nodes of a new cluster: pve1, pve2, …")] = 1,
    guests: Annotated[
        str,
        typer.Option(
            metavar="none|process", help="What runs inside a VM: nothing, or isolated processes with sshd."
        ),
    ] = "none",
    pbs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A new state also has a Proxmox Backup Server storage; repeatable."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Load the state from here, save it here at the end.")
    ] = None,
) -> None:
    """Run a Proxmox VE stand-in. When ready, prints one JSON line with its addresses and credentials."""
    try:
        from jotunheim.sandbox import main
    except ModuleNotFoundError as error:
        typer.echo(f"The sandbox needs the extra 'sandbox' ({error.name} is missing).", err=True)
        typer.echo("Try: pip install 'jotunheim[sandbox]'", err=True)
        raise typer.Exit(BAD_USAGE) from error
    raise typer.Exit(
        main.main(
            listen=listen,
            control=control,
            time_scale=time_scale,
            nodes=nodes,
            guests=guests,
            pbs=pbs or [],
            state=state,
            command=command or [],
        )
    )
