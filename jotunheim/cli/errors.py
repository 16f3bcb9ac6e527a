"""How commands fail: exit codes, and every error as lines for a person or a document for a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.service import ServiceError


class ExitCode(IntEnum):
    """What a command's exit status says."""

    FAILED = 1
    """The job, the check or the request did not succeed."""
    USAGE = 2
    UNREACHABLE = 3
    """The service or the node does not answer."""
    TIMEOUT = 124
    """`--timeout` passed, as with timeout(1)."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it."""


@dataclass(frozen=True)
class Problem:
    """One bad field.

    Attributes:
        option: what the caller wrote on the command line, e.g. `--memory`; None: the field itself.
    """

    field: str
    message: str
    option: str | None = None


class CommandError(JotunheimError):
    """A command that ends without its result.

    Attributes:
        code: as in the API's errors, or one of `timeout`, `service_unreachable`, `usage`, `interrupted`.
        problems: the bad fields.
        request_id: under which the service logged the request, if it was refused there.
        document: what `--json` prints beside the error: the part that was achieved.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        exit_code: ExitCode = ExitCode.FAILED,
        problems: Sequence[Problem] = (),
        hint: str | None = None,
        request_id: str | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.exit_code = exit_code
        self.problems = tuple(problems)
        self.request_id = request_id
        self.document = dict(document or {})


def as_command_error(error: JotunheimError, options: Mapping[str, str] | None = None) -> CommandError:
    """Any error raised on purpose, as a command's.

    Args:
        options: the command's option for each field, for messages about bad fields.
    """
    if isinstance(error, CommandError):
        return error
    found: Sequence[FieldProblem] = ()
    if isinstance(error, DataValidationError):
        found = error.problems
    elif isinstance(error, ServiceError):
        found = error.details
    problems = [
        Problem(problem.field, problem.message, option_of(problem.field, options or {})) for problem in found
    ]
    return CommandError(error.message, code=error.code, problems=problems, hint=error.hint)


def option_of(field: str, options: Mapping[str, str]) -> str | None:
    """The option for a field of the API: `ssh_keys.1` is `--ssh-key (number 2)`."""
    parts = field.split(".")
    for length in range(len(parts), 0, -1):
        option = options.get(".".join(parts[:length]))
        if option is not None:
            rest = parts[length:]
            if not rest:
                return option
            return f"{option} (number {int(rest[0]) + 1})" if rest[0].isdecimal() else f"{option} ({rest[0]})"
    return None


def error_document(error: CommandError) -> dict[str, Any]:
    """What `--json` prints: the API's error object, beside what was achieved before."""
    return {
        **error.document,
        "error": {
            "code": error.code,
            "message": error.message,
            "details": [{"field": problem.field, "message": problem.message} for problem in error.problems],
            "hint": error.hint,
            "request_id": error.request_id,
        },
    }


def error_lines(error: CommandError) -> list[str]:
    """What a person reads: the cause, each bad field, and what to try next."""
    lines = [f"Error: {error.message}"]
    lines += [f"  {problem.option or problem.field}: {problem.message}" for problem in error.problems]
    if error.hint:
        lines.append(f"Try: {error.hint}")
    return lines
