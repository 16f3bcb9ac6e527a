"""Errors about data itself: values that break a rule and transitions that do not exist."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jotunheim.exceptions import JotunheimError

if TYPE_CHECKING:
    from pydantic import ValidationError

# An answer stays small, however much nonsense a body holds.
MAX_PROBLEMS = 200
MAX_FIELD = 200


@dataclass(frozen=True)
class FieldProblem:
    """One bad field: its dotted path as the caller wrote it, and what is wrong with it."""

    field: str
    message: str


class DataValidationError(JotunheimError):
    """Input that cannot be accepted; carries every bad field, not only the first."""

    code = "invalid_input"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        fields = ", ".join(dict.fromkeys(problem.field for problem in problems))
        super().__init__(f"Invalid input: {fields}.")
        self.problems = tuple(problems)


def from_pydantic(error: "ValidationError", prefix: tuple[str, ...] = ()) -> DataValidationError:
    """Every bad field of a shape, with its dotted path. Values are left out: one may be a secret."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        location = (*prefix, *(str(part) for part in problem["loc"] if part != "[key]"))
        message = problem["msg"].removeprefix("Value error, ")
        problems.append(FieldProblem(".".join(location)[:MAX_FIELD] or "body", message))
    return DataValidationError(problems[:MAX_PROBLEMS])


@contextmanager
def all_problems() -> Iterator[Callable[..., Any]]:
    """Gives a way to call what checks something, one after the other; what they find wrong is raised at once, at the end."""
    problems: list[FieldProblem] = []

    def collect(parse: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return parse(*arguments)
        except DataValidationError as error:
            problems.extend(error.problems)
            return None

    yield collect
    if problems:
        raise DataValidationError(problems)


class IllegalTransitionError(JotunheimError):
    """A row was asked to move from a status that does not lead to the wanted one."""

    code = "conflict"

    def __init__(self, what: str, current: str, wanted: str) -> None:
        super().__init__(f"{what} is {current} and cannot become {wanted}.")
