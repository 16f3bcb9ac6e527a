"""What commands share that ask for a job: telling of it, following it with `--wait`, and what came of it.

An answer may hold a password that is shown only once. So it is printed before anybody waits, and with
`--json` it stands beside every error that comes later.
"""

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import typer

from jotunheim.cli.differences import print_differences
from jotunheim.cli.errors import CommandError, ExitCode
from jotunheim.cli.options import Check, Json, PlanOption, Timeout, Wait
from jotunheim.cli.output import Document, local_time, print_json, print_lines

if TYPE_CHECKING:
    from jotunheim.cli.client import Api

typed: ContextVar[Sequence[str]] = ContextVar("typed", default=())
"""The arguments of the command that runs, as they were typed."""


@dataclass(frozen=True)
class Manner:
    """How a command asks: what `--wait`, `--timeout`, `--check`, `--plan` and `--json` say."""

    wait: bool
    timeout_seconds: float | None
    check: bool
    plan: str | None
    as_json: bool

    def __post_init__(self) -> None:
        if self.timeout_seconds is not None and not self.wait:
            raise typer.BadParameter("needs --wait.", param_hint="--timeout")
        if self.plan is not None and self.check:
            raise typer.BadParameter("contradicts --check.", param_hint="--plan")

    @property
    def query(self) -> dict[str, str]:
        """The query of the request."""
        if self.plan is not None:
            return {"plan": self.plan}
        return {"check": "true"} if self.check else {}


_ASKED = (
    ("wait", Wait, False),
    ("timeout", Timeout, None),
    ("check", Check, False),
    ("plan", PlanOption, None),
    ("as_json", Json, False),
)
"""The options of a `Manner`, in its order, and their defaults."""


def takes_manner(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with a parameter `manner` the options that say it: `--wait --timeout --check --plan --json`."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "manner"]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in _ASKED
    ]

    @wraps(command)
    def run(**values: Any) -> None:
        manner = Manner(*(values.pop(option.name) for option in options))
        command(**values, manner=manner)

    # What Typer reads.
    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *options]}
    return run


def ask(
    reference: str,
    what: str,
    title: str,
    manner: Manner,
    body: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    *,
    method: Literal["post", "delete"] = "post",
    show: Callable[[Document], None] | None = None,
) -> None:
    """Make a request about one server, and tell what becomes of it.

    Args:
        reference: the server, by id or name.
        what: the path below the server's.
        title: as for `conclude`; `{name}` in it is the server's.
        options: the command's option for each field of the body.
        show: as for `conclude`.

    Raises:
        CommandError: it was refused, or as `conclude`.
    """
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import server_id

    with Api.from_environment() as api:
        send = getattr(api, method)
        answer = send(f"/servers/{server_id(api, reference)}/{what}", body, options, query=manner.query)
        conclude(api, answer, title.replace("{name}", answer["server"]["name"]), manner, show=show)


def conclude(
    api: "Api",
    answer: Document,
    title: str,
    manner: Manner,
    *,
    told: str | None = None,
    show: Callable[[Document], None] | None = None,
) -> None:
    """Tell of the job that was queued, follow it if that is wanted, and print the answer.

    Args:
        answer: the API's, with `job`, and `server` if it is about one.
        title: what is being done, e.g. `Configuring web-1`.
        told: the first line for a person; None: the title and the job's id.
        show: prints for a person what came of it, from the answer as it stands when the job is over.

    Raises:
        CommandError: the job failed, was not over in time, or cannot be followed.
    """
    job = answer["job"]
    if manner.check:
        title += " (check)"
    if not manner.as_json:
        print_lines([told or f"{title}: job {job['id']}."])
        if answer.get("root_password"):
            print_lines([f"Password, shown only now: {answer['root_password']}"])
    if manner.wait:
        answer = _followed(api, answer, title, manner)
        if not manner.as_json and manner.check:
            print_differences(answer["job"])
            print_lines(["", _apply(job)])
        if not manner.as_json and show:
            show(answer)
    elif not manner.as_json:
        print_lines(_next_steps(job, check=manner.check))
    if manner.as_json:
        print_json(answer)


def _next_steps(job: Document, *, check: bool) -> list[str]:
    if job["run_after"]:
        return [
            f"It begins at {local_time(job['run_after'])}. Until then: jotunheim job cancel {job['id']}",
        ]
    follow = f"Follow it: jotunheim job watch {job['id']}"
    return [follow, _apply(job)] if check else [follow]


def _apply(preview: Document) -> str:
    """The line that applies just what a preview has shown: the same command, with `--plan` in place of `--check`."""
    words = ["jotunheim", *(word for word in typed.get() if word != "--check"), "--plan", preview["id"]]
    return f"Apply it: {shlex.join(words)}"


def _followed(api: "Api", answer: Document, title: str, manner: Manner) -> Document:
    """The answer as it stands when the job is over; its server is None when there is none any more."""
    from jotunheim.cli.board import JobBoard, Silence
    from jotunheim.cli.checklist import Checklist
    from jotunheim.cli.waiting import failure_of, wait_for

    job_id = answer["job"]["id"]
    try:
        if manner.as_json:
            ended = wait_for(api, [job_id], manner.timeout_seconds, Silence())
        else:
            with Checklist() as checklist:
                board = JobBoard(api, checklist, {job_id: title})
                ended = wait_for(api, [job_id], manner.timeout_seconds, board)
        now: Document = {"job": ended[job_id]}
        # A preview changed nothing, and the server of a previewed creation is not there.
        if "server" in answer and not manner.check:
            now["server"] = _server_now(api, answer["server"]["id"])
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted; the job goes on.",
            code="interrupted",
            exit_code=ExitCode.INTERRUPTED,
            hint=f"jotunheim job watch {job_id}",
            document=answer,
        ) from None
    except CommandError as error:
        error.document = answer
        raise
    answer = answer | now
    failure = failure_of(ended[job_id])
    if failure:
        failure.document = answer
        raise failure
    return answer


def _server_now(api: "Api", id_: str) -> Document | None:
    try:
        found: Document = api.get(f"/servers/{id_}")["server"]
    except CommandError as error:
        if error.code == "not_found":
            return None
        raise
    return found
