"""`jotunheim demo`: the main job on an empty machine, with a Proxmox VE stand-in.

`directory` keeps the state, `machines` the processes, `story` tells what happens, `replay` is the run by
hand, `hypervisor` asks the other side. Here is the command, and what it shows at the end.
"""

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jotunheim.cli.options import Json
from jotunheim.cli.output import duration, print_json, print_lines, print_record, print_rows, seconds

if TYPE_CHECKING:
    from jotunheim.cli.demo.directory import DemoDirectory
    from jotunheim.cli.demo.machines import Machines
    from jotunheim.cli.demo.story import Outcome

MAX_SERVERS = 50
CHECK_SECONDS = 1.0


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    count: Annotated[int, typer.Option(min=1, max=MAX_SERVERS, help="How many servers to create.")] = 1,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to keep state; by default ~/.local/state/jotunheim-demo."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a server on an empty machine.

    Starts a Proxmox VE stand-in, the service and a worker on loopback, creates servers over HTTP, and shows
    how the run is replayed by hand. Needs the extra `sandbox`.
    """
    from jotunheim.cli.checklist import Checklist
    from jotunheim.cli.demo.directory import DemoDirectory, default_directory
    from jotunheim.cli.demo.machines import Machines
    from jotunheim.cli.demo.story import tell

    signal.signal(signal.SIGTERM, _on_sigterm)
    with DemoDirectory(state_dir or default_directory()) as directory, Machines(directory) as machines:
        with Checklist(silent=as_json) as checklist:
            outcome = tell(directory, machines, checklist, count, silent=as_json)
        if as_json:
            print_json(_document(outcome, directory, keep=keep))
        else:
            _show(outcome, directory, keep=keep)
        if keep:
            _stay(machines)


def _on_sigterm(signum: int, frame: FrameType | None) -> NoReturn:
    """End in order: contexts are left, and processes stopped."""
    del frame
    sys.exit(128 + signum)


def _stay(machines: "Machines") -> None:
    try:
        while True:
            machines.check()
            time.sleep(CHECK_SECONDS)
    except KeyboardInterrupt:
        return  # the way to end it


def _document(outcome: "Outcome", directory: "DemoDirectory", *, keep: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "servers": outcome.servers,
        "vms": outcome.vms,
        "jobs": outcome.jobs,
        "replay": {"command": outcome.replay.line(hypervisor_runs=keep), "recap": outcome.recap},
        "state_dir": str(directory.path),
        "took_seconds": round(outcome.took_seconds, 1),
    }
    return document | ({"url": outcome.url, "token": outcome.token} if keep else {})


def _show(outcome: "Outcome", directory: "DemoDirectory", *, keep: bool) -> None:
    from jotunheim.cli import servers
    from jotunheim.cli.demo import hypervisor

    several = len(outcome.servers) > 1
    print_lines(["", "As the API says:", ""])
    if several:
        print_rows("servers", outcome.servers, servers.COLUMNS, as_json=False)
    else:
        print_record("server", outcome.servers[0], servers.RECORD, as_json=False)
    print_lines(["", "As the hypervisor says:", ""])
    if several:
        print_rows("vms", outcome.vms, hypervisor.COLUMNS, as_json=False)
    else:
        print_record("vm", outcome.vms[0], hypervisor.RECORD, as_json=False)
    print_lines(["", "The steps:", ""])
    steps = [
        {"server": server["name"], **step}
        for server, job in zip(outcome.servers, outcome.jobs, strict=True)
        for step in job["steps"]
    ]
    print_rows(
        "steps",
        steps,
        {
            "server": lambda step: step["server"],
            "step": lambda step: step["name"],
            "status": lambda step: step["status"],
            "changed": lambda step: "changed" if step["changed"] else "",
            "took": lambda step: duration(step["started_at"], step["finished_at"]),
        },
        as_json=False,
    )
    print_lines(
        ["", "The same run by hand, in any shell:", "", outcome.replay.line(hypervisor_runs=keep), ""]
    )
    print_lines([f"Done in {seconds(outcome.took_seconds)}. State and logs stay in {directory.path}."])
    if keep:
        print_lines(
            [
                "",
                "It stays up until Ctrl-C:",
                "",
                f"export JOTUNHEIM_URL={outcome.url} JOTUNHEIM_TOKEN={outcome.token}",
            ]
        )
