"""`jotunheim job …`: what was asked for, and how it goes."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jotunheim.cli.asking import Manner
from jotunheim.cli.differences import print_differences
from jotunheim.cli.errors import CommandError
from jotunheim.cli.options import Json, Sort, Timeout, Wait, assert_new, write_new_file
from jotunheim.cli.output import (
    Columns,
    Document,
    duration,
    local_time,
    print_json,
    print_lines,
    print_record,
    print_rows,
)

if TYPE_CHECKING:
    from jotunheim.cli.client import Api

app = typer.Typer(no_args_is_help=True, help="Jobs: what was asked for, and how it goes.")


class Status(StrEnum):
    """Life of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _target(job: Document) -> str | None:
    return next((resource["id"] for resource in job["resources"] if resource["type"] == "server"), None)


def _type(job: Document) -> str:
    return f"{job['type']} (check)" if job["check"] else str(job["type"])


def _result(job: Document) -> dict[str, object]:
    """What the work led to, without nesting: `fields.cpu=applied`."""
    found: dict[str, object] = {}
    for name, value in (job["result"] or {}).items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            found[name] = " ".join(map(str, value)) or "none" if isinstance(value, list) else value
    return found


COLUMNS: Columns = {
    "id": lambda job: job["id"],
    "type": _type,
    "status": lambda job: job["status"],
    "progress": lambda job: f"{job['progress']} %",
    "server": _target,
    "created": lambda job: local_time(job["created_at"]),
    "took": lambda job: duration(job["started_at"], job["finished_at"]),
}
_RECORD: Columns = {
    **COLUMNS,
    "begins": lambda job: local_time(job["run_after"] or job["not_before"]),
    "being cancelled": lambda job: job["cancel_requested"],
    "result": _result,
    "attempt": lambda job: f"{job['attempt']} of {job['max_attempts']}",
    "requested by": lambda job: job["requested_by"],
    "request": lambda job: job["request_id"],
    "tasks": lambda job: job["upids"],
}
_STEPS: Columns = {
    "step": lambda step: step["name"],
    "status": lambda step: step["status"],
    "changed": lambda step: "changed" if step["changed"] else "",
    "took": lambda step: duration(step["started_at"], step["finished_at"]),
}


@app.command("list")
def list_(
    status: Annotated[Status | None, typer.Option(help="Only jobs in this state.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only jobs of this type, e.g. server.build.")
    ] = None,
    server: Annotated[str | None, typer.Option(metavar="ID|NAME", help="Only jobs of this server.")] = None,
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="Only jobs on this node.")] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Only jobs that this request asked for.")
    ] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id, server_id

    with Api.from_environment() as api:
        jobs = api.all(
            "/jobs",
            "jobs",
            status=status.value if status else None,
            server_id=server_id(api, server) if server else None,
            node_id=node_id(api, node) if node else None,
            type=type_,
            request_id=request,
            sort=sort,
        )
    print_rows("jobs", jobs, COLUMNS, as_json=as_json)


@app.command()
def show(job: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show a job with its steps, its Proxmox VE tasks and its error."""
    from jotunheim.cli.client import Api, path_part

    with Api.from_environment() as api:
        found = api.get(f"/jobs/{path_part(job)}")["job"]
    print_record("job", found, _RECORD, as_json=as_json)
    if not as_json:
        _print_steps(found)
        print_differences(found)
        if found["error"]:
            print_lines(["", f"Error: {found['error']['message']} ({found['error']['code']})"])
            if found["error"]["hint"]:
                print_lines([f"Try: {found['error']['hint']}"])


@app.command()
def watch(
    job: Annotated[str, typer.Argument(metavar="ID")], timeout: Timeout = None, as_json: Json = False
) -> None:
    """Follow a job until it is over. With --json, each event is a line of JSON."""
    from jotunheim.cli.client import Api, path_part

    with Api.from_environment() as api:
        _follow(api, api.get(f"/jobs/{path_part(job)}")["job"], timeout, as_json=as_json)


@app.command()
def retry(
    job: Annotated[str, typer.Argument(metavar="ID")],
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Try a failed job again; it continues from where it stood. With --wait --json, each event is a line."""
    from jotunheim.cli.client import Api, path_part

    Manner(wait, timeout, check=False, plan=None, as_json=as_json)
    with Api.from_environment() as api:
        queued = api.post(f"/jobs/{path_part(job)}/retry")["job"]
        if wait:
            _follow(api, queued, timeout, as_json=as_json)
        else:
            print_record("job", queued, _RECORD, as_json=as_json)


@app.command()
def cancel(
    job: Annotated[str, typer.Argument(metavar="ID")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep what the job has made so far.")] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Cancel a job. One that runs is stopped, and what it has made so far is taken back."""
    from jotunheim.cli.board import Silence
    from jotunheim.cli.client import Api, path_part
    from jotunheim.cli.waiting import failure_of, wait_for

    Manner(wait, timeout, check=False, plan=None, as_json=as_json)
    body = {"on_cancel": "keep" if keep else "cleanup"}
    with Api.from_environment() as api:
        told = api.post(f"/jobs/{path_part(job)}/cancel", body, {"on_cancel": "--keep"})["job"]
        if wait:
            told = wait_for(api, [told["id"]], timeout, Silence())[told["id"]]
    print_record("job", told, _RECORD, as_json=as_json)
    if wait and told["status"] != "cancelled":
        raise failure_of(told) or CommandError("It was too late: the job succeeded.", code="conflict")


@app.command()
def bundle(
    job: Annotated[str, typer.Argument(metavar="ID")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; a file that does not exist yet.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Save a job's last run as an archive that `ansible-playbook` can do again. It holds no secret."""
    from jotunheim.cli.client import Api, path_part

    target = (output or Path(f"jotunheim-job-{path_part(job)}.tar.gz")).expanduser().absolute()
    assert_new("--output", target)
    with Api.from_environment() as api:
        content = api.file(f"/jobs/{path_part(job)}/bundle", "application/gzip")
    write_new_file("--output", target, content)
    if as_json:
        print_json({"file": str(target), "size_bytes": len(content)})
    else:
        print_lines([f"Saved to {target}. Its README.md says how to run it."])


def _follow(api: "Api", job: Document, timeout: float | None, *, as_json: bool) -> None:
    """Show a job's events or steps until it is over; a failure becomes the command's."""
    from jotunheim.cli.board import EventPrinter, JobBoard
    from jotunheim.cli.checklist import Checklist
    from jotunheim.cli.waiting import failure_of, wait_for

    if as_json:
        ended = wait_for(api, [job["id"]], timeout, EventPrinter())
    else:
        with Checklist() as checklist:
            board = JobBoard(api, checklist, {job["id"]: f"{job['type']} {_target(job) or ''}"})
            ended = wait_for(api, [job["id"]], timeout, board)
        if ended[job["id"]]["check"]:
            print_differences(ended[job["id"]])
    failure = failure_of(ended[job["id"]])
    if failure:
        raise failure


def _print_steps(job: Document) -> None:
    """A job's steps with their times, as a table."""
    if job["steps"]:
        print_lines([""])
        print_rows("steps", job["steps"], _STEPS, as_json=False)
